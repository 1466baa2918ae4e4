// Takes the pictures of the README from the demo:
//
//   npx tsx --tsconfig test/tsconfig.json test/browser/screenshots.ts
//   npx tsx --tsconfig test/tsconfig.json test/browser/screenshots.ts /tmp   also phone and dark ones, all there

import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

import type { Browser, BrowserContextOptions, Page } from 'playwright-core'

import { linux, phone, windows } from './agents.ts'
import { launchChromium } from './chromium.ts'
import { runShop, signIn } from './shop.ts'
import type { RunningShop } from './shop.ts'

const maxBytes = 150_000
const dark: BrowserContextOptions = { colorScheme: 'dark' }

const [folder = '.github', ...rest] = process.argv.slice(2)
const wantsAll = process.argv.length > 2
if (rest.length > 0) throw new Error('one folder will do')
mkdirSync(folder, { recursive: true })

const realNow = Date.now
const shop = await runShop({ proxy: true })
const browser = await launchChromium()
try {
  await takeAll(browser, shop)
} finally {
  await browser.close()
  await shop.close()
}

async function takeAll(browser: Browser, { url }: RunningShop): Promise<void> {
  const open = async (options: BrowserContextOptions, ip: string): Promise<Page> => {
    const headers = { ...options.extraHTTPHeaders, 'X-Forwarded-For': ip }
    const context = await browser.newContext({ ...options, extraHTTPHeaders: headers })
    return context.newPage()
  }

  // The demo keeps its sessions in memory here, so that its clock is that of this process.
  setMinutesAgo(131)
  const onPhone = await open(phone, '194.25.0.1')
  await signIn(onPhone, url, 'clerk', '/')
  setMinutesAgo(84)
  await onPhone.goto(`${url}/cart`)
  const onLinux = await open(linux, '192.168.1.20')
  await signIn(onLinux, url, 'clerk', '/')
  setMinutesAgo(37)
  await onPhone.goto(url)
  setMinutesAgo(26)
  await onLinux.goto(url)
  setMinutesAgo(12)
  const here = await open(windows, '127.0.0.1')
  await signIn(here, url, 'clerk', '/')
  const admin = await open(windows, '127.0.0.1')
  await signIn(admin, url, 'admin', '/')
  setMinutesAgo(0)

  await here.goto(url)
  await here.goto(`${url}/devices`)
  await take(here, 'devices')
  await admin.goto(url)
  await admin.goto(`${url}/admin/sessions?user=clerk`)
  await admin.getByText('info of').first().click()
  await take(admin, 'admin')
  if (!wantsAll) return

  for (const [page, path, name] of [
    [here, '/devices', 'devices'],
    [admin, '/admin/sessions?user=clerk', 'admin'],
  ] as const) {
    await page.emulateMedia(dark)
    await page.goto(`${url}${path}`)
    await take(page, `${name}-dark`)
    await page.setViewportSize({ width: 320, height: 640 })
    await take(page, `${name}-320-dark`)
    await page.emulateMedia({ colorScheme: 'light' })
    await take(page, `${name}-320`)
  }
}

async function take(page: Page, name: string): Promise<void> {
  const path = join(folder, `${name}.png`)
  await page.screenshot({ path, fullPage: true, animations: 'disabled' })
  const { size } = statSync(path)
  if (size > maxBytes) throw new Error(`${path} has ${size} bytes, which is over ${maxBytes}`)
  process.stdout.write(`${path}: ${Math.round(size / 1000)} KB\n`)
}

function setMinutesAgo(minutes: number): void {
  Date.now = () => realNow() - minutes * 60_000
}
