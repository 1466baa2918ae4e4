// The page works without this script. With it, a click ends a session and the list is rotated in
// place, and times are those of this browser.

const devices = document.querySelector('#devices')
const said = document.querySelector('#said')

// moment.ts says the same on the server.
const relative = new Intl.RelativeTimeFormat('en-GB', { numeric: 'auto' })
const absolute = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  timeZoneName: 'short',
})

let aheadMs = 0
let isEnding = false
let asked = 0

devices.addEventListener('submit', async (event) => {
  event.preventDefault()
  // A second click would ask twice.
  if (isEnding) return
  isEnding = true
  devices.setAttribute('aria-busy', 'true')
  const { name, value } = event.submitter
  await rotate({ method: 'POST', body: new URLSearchParams({ [name]: value }) })
  devices.removeAttribute('aria-busy')
  isEnding = false
})

document.addEventListener('visibilitychange', async () => {
  if (document.visibilityState !== 'visible') return
  showTimes()
  if (!isEnding) await rotate()
})

setInterval(showTimes, 20_000)
setClock()

/** Asks for the page, and takes the list and the message out of it. */
async function rotate(request) {
  asked += 1
  const mine = asked
  try {
    const headers = { 'X-Client-UTC-Offset': String(-new Date().getTimezoneOffset()) }
    const response = await fetch('/devices', { ...request, headers })
    const text = await response.text()
    // An answer that comes late knows less than the one after it.
    if (mine !== asked) return
    if (response.status === 401) location.assign('/sign-in?next=/devices')
    else if (new URL(response.url).pathname !== '/devices') location.assign(response.url)
    else take(new DOMParser().parseFromString(text, 'text/html'), request !== undefined)
  } catch {
    if (mine === asked && request) say('The shop did not answer. Please try again.', 'problem')
  }
}

function take(page, isAsked) {
  const news = page.querySelector('#devices')
  const message = page.querySelector('main > .notice, main > .problem')
  if (news) takeList(news)
  if (message && (news || isAsked)) say(message.textContent, message.className)
  else if (isAsked) say('That did not work. Please try again.', 'problem')
}

function takeList(news) {
  const focused = devices.contains(document.activeElement) ? document.activeElement : undefined
  devices.dataset.now = news.dataset.now
  devices.replaceChildren(...news.childNodes)
  setClock()
  if (!focused) return
  // The button may be gone with its session; then the heading is where reading goes on.
  const button = focused.id && document.getElementById(focused.id)
  const place = button || document.querySelector('#devices-title')
  place.focus()
}

function say(text, className) {
  for (const old of document.querySelectorAll('main > .notice, main > .problem')) {
    if (old !== said) old.remove()
  }
  said.className = className
  said.textContent = text
}

/** Ages are counted on the server's clock: this one may be wrong. */
function setClock() {
  aheadMs = Date.now() - Number(devices.dataset.now)
  showTimes()
}

function showTimes() {
  for (const time of devices.querySelectorAll('time')) {
    const date = new Date(time.dateTime)
    time.textContent =
      time.dataset.shows === 'at'
        ? absolute.format(date)
        : agoText((Date.now() - aheadMs - date.getTime()) / 1000)
  }
}

function agoText(seconds) {
  if (seconds < 45) return 'just now'
  if (seconds < 45 * 60) return relative.format(-Math.round(seconds / 60), 'minute')
  if (seconds < 22 * 3600) return relative.format(-Math.round(seconds / 3600), 'hour')
  return relative.format(-Math.round(seconds / 86_400), 'day')
}
