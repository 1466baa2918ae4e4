import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'

import { users } from '../../examples/demo/users.ts'
import { connectRedis, uniquePrefix } from '../support/redis-client.ts'
import { linux, phone, windows } from './agents.ts'
import { launchChromium } from './chromium.ts'
import { contrastOf, lookOf } from './look.ts'
import { runShop, signIn } from './shop.ts'

const waitMs = 10_000
const onLinux = 'Firefox 128 on Linux'
const onPhone = 'Safari 17 on iPhone'
const onWindows = 'Chrome 131 on Windows 10'

let browser: Browser
/** What the pages have reported: errors of scripts, and all console errors. */
let faults: string[] = []

beforeAll(async () => {
  browser = await launchChromium()
})

afterAll(async () => {
  await browser?.close()
})

afterEach(() => {
  const found = faults
  faults = []
  expect(found).toEqual([])
})

/** Runs a shop of its own for this test, with its sessions in Redis. */
async function openShop(options: { tls?: boolean } = {}): Promise<string> {
  const shop = await runShop({ redis: connectRedis(), prefix: uniquePrefix(), ...options })
  onTestFinished(() => shop.close())
  return shop.url
}

/** A browser with cookies of its own. */
async function openPage(options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext(options)
  onTestFinished(() => context.close())
  context.setDefaultTimeout(waitMs)
  const page = await context.newPage()
  page.on('pageerror', (error) => faults.push(error.message))
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) faults.push(message.text())
  })
  return page
}

/** A browser that is signed in and shows the devices. */
async function signedIn(url: string, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await openPage(options)
  await signIn(page, url, 'clerk', '/devices')
  return page
}

/** Signs in as a client other than a browser, and returns its token. */
async function openRemote(url: string, name: string, machineName: string): Promise<string> {
  const password = users.find((user) => user.name === name)?.shownPassword
  const response = await fetch(`${url}/api/sessions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name, password, machineName, appVersion: '1.0', platform: 'Linux' }),
  })
  const { token }: { token: string } = await response.json()
  return token
}

function devicesOn(page: Page): Promise<string[]> {
  return page.getByRole('main').getByRole('heading', { level: 3 }).allInnerTexts()
}

async function expectDevices(page: Page, devices: readonly string[]): Promise<void> {
  const words = async () => {
    const found = (await devicesOn(page)).map((text) => text.replace(/\s+/g, ' '))
    return presentFirst(found)
  }
  await expect.poll(words, { timeout: waitMs }).toEqual(presentFirst(devices))
}

/** Expects the current device in place, the others sorted: one second of activity has no order. */
function presentFirst([first = '', ...others]: readonly string[]): string[] {
  return first.endsWith('This device')
    ? [first, ...others.toSorted()]
    : [first, ...others].toSorted()
}

function endButton(page: Page, device: string) {
  return page.getByRole('button', { name: `End ${device}, signed in just now`, exact: true })
}

function status(page: Page, text: string) {
  return page.getByRole('status').filter({ hasText: text })
}

function comeBack(page: Page): Promise<void> {
  return page.evaluate(() => {
    document.dispatchEvent(new Event('visibilitychange'))
  })
}

function focused(page: Page): Promise<string> {
  return page.evaluate(() => document.activeElement?.id ?? '')
}

async function expectSignIn(page: Page, url: string): Promise<void> {
  await page.waitForURL(`${url}/sign-in?next=%2Fdevices`)
  await page.getByRole('heading', { level: 1, name: 'Sign in' }).waitFor()
}

describe('two browsers of one user', () => {
  it.each([
    ['with JavaScript', true],
    ['without JavaScript', false],
  ])('see both, and one ends the other with its button, %s', async (_how, javaScriptEnabled) => {
    const url = await openShop()
    const there = await signedIn(url, { ...phone, javaScriptEnabled })
    await expectDevices(there, [`${onPhone} This device`])
    const here = await signedIn(url, { ...linux, javaScriptEnabled })

    await expectDevices(here, [`${onLinux} This device`, onPhone])
    await there.reload()
    await expectDevices(there, [`${onPhone} This device`, onLinux])

    await endButton(here, onPhone).click()
    await status(here, `Ended: ${onPhone}.`).waitFor()
    await expectDevices(here, [`${onLinux} This device`])
    expect(here.url()).toBe(`${url}/devices`)

    await endButton(there, onLinux).click()
    await expectSignIn(there, url)
    await here.reload()
    await expectDevices(here, [`${onLinux} This device`])
  })

  it.each([
    ['with JavaScript', true],
    ['without JavaScript', false],
  ])('are signed out by “End all others” in a third, %s', async (_how, javaScriptEnabled) => {
    const url = await openShop()
    const others = [
      await signedIn(url, { ...phone, javaScriptEnabled }),
      await signedIn(url, { ...linux, javaScriptEnabled }),
    ]
    const here = await signedIn(url, { ...windows, javaScriptEnabled })
    await expectDevices(here, [`${onWindows} This device`, onLinux, onPhone])

    await here.getByRole('button', { name: 'End all others' }).click()

    await status(here, 'Ended: 2 other devices.').waitFor()
    await expectDevices(here, [`${onWindows} This device`])
    expect(await here.getByRole('button', { name: 'End all others' }).count()).toBe(0)
    for (const other of others) {
      await other.getByRole('link', { name: 'Devices' }).click()
      await expectSignIn(other, url)
    }
  })

  it.each([
    ['with JavaScript', true],
    ['without JavaScript', false],
  ])('can end the session that they use, %s', async (_how, javaScriptEnabled) => {
    const url = await openShop()
    const page = await signedIn(url, { ...linux, javaScriptEnabled })

    await page.getByRole('button', { name: `End ${onLinux}, this device`, exact: true }).click()

    await page.waitForURL(`${url}/`)
    await page.getByRole('link', { name: 'Sign in', exact: true }).first().waitFor()
    expect(await page.context().cookies()).toEqual([])
  })

  it('get two names when they look alike', async () => {
    const url = await openShop()
    await signedIn(url, linux)
    const page = await signedIn(url, linux)

    const devices = (await devicesOn(page)).map((text) => text.replace(/\s+This device/, ''))
    expect(devices.toSorted()).toEqual([onLinux, `${onLinux} (2)`])
  })
})

describe('the script', () => {
  it('updates the list without a page load, and moves the focus to its title', async () => {
    const url = await openShop()
    await signedIn(url, phone)
    const page = await signedIn(url, { ...linux, timezoneId: 'Asia/Kolkata' })
    await page.evaluate(() => document.body.classList.add('still-here'))
    const asked = page.waitForRequest((request) => request.method() === 'POST')

    await endButton(page, onPhone).click()

    await status(page, `Ended: ${onPhone}.`).waitFor()
    expect(await focused(page)).toBe('devices-title')
    await page.getByRole('heading', { level: 2, name: 'Signed in here only' }).waitFor()
    expect(await page.locator('body.still-here').count()).toBe(1)
    expect((await asked).headers()['x-client-utc-offset']).toBe('330')
  })

  it('shows the times of this browser’s time zone and keeps them fresh', async () => {
    const url = await openShop()
    const page = await openPage({ ...linux, timezoneId: 'Asia/Kolkata' })
    await page.clock.install()
    await signIn(page, url, 'clerk', '/devices')
    const signedInAt = page.getByRole('listitem').filter({ hasText: 'Signed in' })
    await signedInAt.getByText('GMT+5:30').waitFor()
    await signedInAt.getByText('just now').first().waitFor()

    await page.clock.fastForward('05:00')

    await signedInAt.getByText('5 minutes ago').first().waitFor()
  })

  it('updates the list when the tab comes back, and leaves the focus where it is', async () => {
    const url = await openShop()
    const page = await signedIn(url, linux)
    const own = page.getByRole('button', { name: `End ${onLinux}, this device` })
    await own.focus()
    const before = await focused(page)
    await signedIn(url, phone)

    await comeBack(page)

    await expectDevices(page, [`${onLinux} This device`, onPhone])
    expect(await focused(page)).toBe(before)
    expect(await page.locator('#said').textContent()).toBe('')
  })

  it('goes to the sign-in page when the session was ended elsewhere', async () => {
    const url = await openShop()
    const page = await signedIn(url, linux)
    const other = await signedIn(url, phone)
    await endButton(other, onLinux).click()
    await status(other, `Ended: ${onLinux}.`).waitFor()

    await comeBack(page)

    await expectSignIn(page, url)
  })

  it('goes to the sign-in page when the session ends during its request', async () => {
    const url = await openShop()
    await signedIn(url, phone)
    const page = await signedIn(url, linux)
    await page.route(`${url}/devices`, (route) => route.fulfill({ status: 401 }))

    await endButton(page, onPhone).click()

    await page.waitForURL(`${url}/sign-in?next=/devices`)
    expect(faults.splice(0)).toEqual([expect.stringContaining('401')])
  })

  it('says that a session has already ended, and shows the current list', async () => {
    const url = await openShop()
    const page = await signedIn(url, linux)
    const other = await signedIn(url, phone)
    await comeBack(page)
    await expectDevices(page, [`${onLinux} This device`, onPhone])
    await other.getByRole('button', { name: 'Sign out' }).click()
    await other.waitForURL(`${url}/`)

    await endButton(page, onPhone).click()

    await status(page, 'it has ended already').waitFor()
    await expectDevices(page, [`${onLinux} This device`])
    expect(faults.splice(0)).toEqual([expect.stringContaining('404')])
  })

  it('says that the shop does not answer, and enables the button again', async () => {
    const url = await openShop()
    await signedIn(url, phone)
    const page = await signedIn(url, linux)
    await page.route(`${url}/devices`, (route) => route.abort())

    await endButton(page, onPhone).click()
    await status(page, 'did not answer').waitFor()
    expect(faults.splice(0)).toEqual([expect.stringContaining('ERR_FAILED')])

    await page.unroute(`${url}/devices`)
    await page.route(`${url}/devices`, (route) =>
      route.fulfill({ status: 502, body: 'Bad gateway' }),
    )
    await endButton(page, onPhone).click()
    await status(page, 'That did not work').waitFor()
    expect(faults.splice(0)).toEqual([expect.stringContaining('502')])

    await page.unroute(`${url}/devices`)
    await endButton(page, onPhone).click()
    await status(page, `Ended: ${onPhone}.`).waitFor()
  })
})

describe('a client on the command line', () => {
  it('appears on the page, and is ended with its button', async () => {
    const url = await openShop()
    const token = await openRemote(url, 'clerk', 'lighthouse')
    const me = () => fetch(`${url}/api/me`, { headers: { Authorization: `Bearer ${token}` } })
    expect((await me()).status).toBe(200)
    const page = await signedIn(url, linux)
    const device = 'Lantern & Rope on the command line 1.0 on Linux, lighthouse'
    await expectDevices(page, [`${onLinux} This device`, device])

    await endButton(page, device).click()

    await status(page, `Ended: ${device}.`).waitFor()
    await expectDevices(page, [`${onLinux} This device`])
    const ended = await me()
    expect(ended.status).toBe(401)
    expect(ended.headers.get('WWW-Authenticate')).toContain('error="invalid_token"')
  })
})

describe('people who', () => {
  it('use the keyboard alone find and end a session', async () => {
    const url = await openShop()
    await signedIn(url, phone)
    const page = await signedIn(url, linux)
    const button = endButton(page, onPhone)
    const id = await button.getAttribute('id')

    for (let presses = 0; presses < 30 && (await focused(page)) !== id; presses += 1) {
      await page.keyboard.press('Tab')
    }
    expect(await focused(page)).toBe(id)
    const outline = await button.evaluate((element) => getComputedStyle(element).outline)
    expect(outline).toMatch(/solid 3px/)
    await page.keyboard.press('Enter')

    await status(page, `Ended: ${onPhone}.`).waitFor()
    expect(await focused(page)).toBe('devices-title')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Space')
    await page.waitForURL(`${url}/`)
  })

  it('use a screen reader are told what each part is', async () => {
    const url = await openShop()
    await signedIn(url, phone)
    const page = await signedIn(url, linux)

    const tree = await page.getByRole('main').ariaSnapshot()

    expect(tree).toContain('- heading "Your devices" [level=1]')
    expect(tree).toContain('- heading "Signed in on 2 devices" [level=2]')
    expect(tree).toContain('- region "Signed in on 2 devices"')
    expect(tree).toContain(`- heading "${onLinux} This device" [level=3]`)
    expect(tree).toContain(`- heading "${onPhone}" [level=3]`)
    expect(await page.getByRole('main').getByRole('listitem').count()).toBe(2)
    expect([...tree.matchAll(/- button "([^"]*)"/g)].map(([, name]) => name)).toEqual([
      `End ${onLinux}, this device`,
      `End ${onPhone}, signed in just now`,
      'End all others',
    ])
  })

  it.each(['light', 'dark'] as const)(
    'have poor eyesight, or a phone 320 px wide, can read and tap everything (%s)',
    async (colorScheme) => {
      const url = await openShop()
      await signedIn(url, phone)
      const page = await openPage({ ...linux, viewport: { width: 320, height: 640 }, colorScheme })
      await signIn(page, url, 'admin', '/devices')
      // Its name has the maximum length.
      await openRemote(url, 'clerk', 'm'.repeat(64))
      await openRemote(url, 'admin', 'm'.repeat(64))
      for (const path of ['/devices', '/admin', '/admin/sessions?user=clerk', '/session']) {
        await page.goto(url + path)
        for (const summary of await page.locator('summary').all()) await summary.click()

        const { width, small, texts } = await page.evaluate(lookOf, '.unseen, .skip')

        expect({ width, small }).toEqual({ width: 320, small: [] })
        expect(texts.length).toBeGreaterThan(10)
        const faint = texts.filter(({ color, background }) => contrastOf(color, background) < 4.5)
        expect(faint).toEqual([])
      }
    },
  )
})

describe('an admin', () => {
  it.each([
    ['with JavaScript', true],
    ['without JavaScript', false],
  ])('finds a user’s sessions and ends one, then all, %s', async (_how, javaScriptEnabled) => {
    const url = await openShop()
    const users = [
      await signedIn(url, { ...phone, javaScriptEnabled }),
      await signedIn(url, { ...linux, javaScriptEnabled }),
      await signedIn(url, { ...windows, javaScriptEnabled }),
    ]
    const admin = await openPage({ ...windows, javaScriptEnabled })
    await signIn(admin, url, 'admin', '/admin')

    await admin.getByLabel('User name').fill('clerk')
    await admin.getByRole('button', { name: 'Find' }).click()
    await admin.waitForURL(`${url}/admin/sessions?user=clerk`)
    await expectDevices(admin, [onWindows, onLinux, onPhone])
    await admin.locator('summary', { hasText: onPhone }).click()
    await admin.getByText('creationDateTime').filter({ visible: true }).waitFor()

    await endButton(admin, onPhone).click()
    await status(admin, `Ended: ${onPhone} of “clerk”.`).waitFor()
    await expectDevices(admin, [onWindows, onLinux])

    await admin.getByRole('button', { name: 'End all of “clerk”' }).click()
    await status(admin, 'Ended: 2 sessions of “clerk”.').waitFor()
    await admin.getByText('“clerk” has no session.').waitFor()
    for (const user of users) {
      await user.getByRole('link', { name: 'Devices' }).click()
      await expectSignIn(user, url)
    }
  })
})

describe('a form on another port of the same host, sent with the cookie', () => {
  it('is refused and ends nothing', async () => {
    const url = await openShop()
    await signedIn(url, phone)
    const page = await signedIn(url, linux)
    await page.route('http://127.0.0.1:1/', (route) =>
      route.fulfill({
        contentType: 'text/html',
        body: `<form method="post" action="${url}/devices"><button name="end" value="others">`,
      }),
    )
    await page.goto('http://127.0.0.1:1/')
    const sent = page.waitForRequest(`${url}/devices`)

    await page.getByRole('button').click()

    await page.getByText('comes from another site').waitFor()
    expect(await (await sent).headerValue('cookie')).toMatch(/^session=/)
    expect(faults.splice(0)).toEqual([expect.stringContaining('403')])
    await page.goto(`${url}/devices`)
    await expectDevices(page, [`${onLinux} This device`, onPhone])
  })
})

describe('the cookie in the browser', () => {
  it('is HttpOnly and Lax over HTTP, and invisible to scripts', async () => {
    const page = await signedIn(await openShop(), linux)

    const cookies = await page.context().cookies()

    expect(cookies).toEqual([
      expect.objectContaining({
        name: 'session',
        path: '/',
        domain: '127.0.0.1',
        httpOnly: true,
        secure: false,
        sameSite: 'Lax',
      }),
    ])
    expect(await page.evaluate(() => document.cookie)).toBe('')
  })

  it('is Secure and has the prefix __Host- over HTTPS', async () => {
    const url = await openShop({ tls: true })
    const page = await signedIn(url, { ...linux, ignoreHTTPSErrors: true })

    const cookies = await page.context().cookies()

    expect(cookies).toEqual([
      expect.objectContaining({
        name: '__Host-session',
        path: '/',
        domain: '127.0.0.1',
        httpOnly: true,
        secure: true,
        sameSite: 'Lax',
      }),
    ])
    expect(await page.evaluate(() => document.cookie)).toBe('')
    await expectDevices(page, [`${onLinux} This device`])
  })
})
