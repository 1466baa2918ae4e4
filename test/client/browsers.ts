/** What a client sends, and the expected description, in the order of the table's columns. */
export type Row = readonly [
  what: string,
  userAgent: string,
  expected: readonly [
    appName: string,
    appVersion: string,
    deviceModel: string,
    platform: string,
    systemVersion: string,
  ],
]

const windows = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64)'
const mac = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)'
const linux = 'Mozilla/5.0 (X11; Linux x86_64)'
const reducedAndroid = 'Mozilla/5.0 (Linux; Android 10; K)'
const blink = 'AppleWebKit/537.36 (KHTML, like Gecko)'
const webKit = 'AppleWebKit/605.1.15 (KHTML, like Gecko)'
const chrome = `${blink} Chrome/131.0.0.0`

export const desktopBrowsers: readonly Row[] = [
  ['Chrome on Windows', `${windows} ${chrome} Safari/537.36`, ['Chrome', '131', '', 'Windows', '']],
  ['Chrome on a Mac', `${mac} ${chrome} Safari/537.36`, ['Chrome', '131', '', 'macOS', '']],
  ['Chrome on Linux', `${linux} ${chrome} Safari/537.36`, ['Chrome', '131', '', 'Linux', '']],
  [
    'Chrome on Windows 7',
    `Mozilla/5.0 (Windows NT 6.1; Win64; x64) ${blink} Chrome/109.0.0.0 Safari/537.36`,
    ['Chrome', '109', '', 'Windows', '7'],
  ],
  [
    'Chrome on ChromeOS',
    `Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) ${chrome} Safari/537.36`,
    ['Chrome', '131', '', 'ChromeOS', ''],
  ],
  [
    'Edge on Windows',
    `${windows} ${chrome} Safari/537.36 Edg/131.0.0.0`,
    ['Edge', '131', '', 'Windows', ''],
  ],
  [
    'Edge on a Mac',
    `${mac} ${chrome} Safari/537.36 Edg/131.0.2903.86`,
    ['Edge', '131', '', 'macOS', ''],
  ],
  [
    'Edge before it was Chromium',
    `${windows} ${blink} Chrome/70.0.3538.102 Safari/537.36 Edge/18.19042`,
    ['Edge', '18.19042', '', 'Windows', ''],
  ],
  [
    'Internet Explorer',
    'Mozilla/5.0 (Windows NT 6.3; WOW64; Trident/7.0; rv:11.0) like Gecko',
    ['Internet Explorer', '11', '', 'Windows', '8.1'],
  ],
  [
    'Firefox on Windows',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0',
    ['Firefox', '132', '', 'Windows', ''],
  ],
  [
    'Firefox on a Mac',
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:132.0) Gecko/20100101 Firefox/132.0',
    ['Firefox', '132', '', 'macOS', ''],
  ],
  [
    'Firefox on an old Mac, which sends its version',
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10.13; rv:115.0) Gecko/20100101 Firefox/115.0',
    ['Firefox', '115', '', 'macOS', '10.13'],
  ],
  [
    'Firefox on Ubuntu',
    'Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0',
    ['Firefox', '131', '', 'Linux', ''],
  ],
  [
    'Firefox on Fedora',
    'Mozilla/5.0 (X11; Fedora; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
    ['Firefox', '128', '', 'Linux', ''],
  ],
  [
    'Firefox on FreeBSD',
    'Mozilla/5.0 (X11; FreeBSD amd64; rv:130.0) Gecko/20100101 Firefox/130.0',
    ['Firefox', '130', '', 'FreeBSD', ''],
  ],
  [
    'Safari on a Mac, or on an iPad that asks for desktop sites',
    `${mac} ${webKit} Version/17.5 Safari/605.1.15`,
    ['Safari', '17.5', '', 'macOS', ''],
  ],
  [
    'Safari on an old Mac, which sends its version',
    `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_6) ${webKit} Version/13.1.2 Safari/605.1.15`,
    ['Safari', '13.1', '', 'macOS', '10.14'],
  ],
  [
    'Opera on Windows',
    `${windows} ${chrome} Safari/537.36 OPR/116.0.0.0`,
    ['Opera', '116', '', 'Windows', ''],
  ],
  [
    'Opera before it was Chromium',
    'Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18',
    ['Opera', '12.18', '', 'Windows', '7'],
  ],
  [
    'Vivaldi that sends its name',
    `${linux} ${blink} Chrome/120.0.0.0 Safari/537.36 Vivaldi/6.5.3206.39`,
    ['Vivaldi', '6.5', '', 'Linux', ''],
  ],
  [
    'Yandex Browser',
    `${windows} ${blink} Chrome/124.0.0.0 YaBrowser/24.6.0.0 Safari/537.36`,
    ['Yandex Browser', '24.6', '', 'Windows', ''],
  ],
  [
    'DuckDuckGo on a Mac',
    `${mac} ${webKit} Version/17.4 Safari/605.1.15 Ddg/17.4`,
    ['DuckDuckGo', '17.4', '', 'macOS', ''],
  ],
  [
    'GNOME Web',
    `${linux} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.0 Safari/605.1.15 Epiphany/605.1.15`,
    ['Epiphany', '16', '', 'Linux', ''],
  ],
  [
    'an app on Electron',
    `${windows} ${blink} Shop/1.2.3 Chrome/124.0.6367.243 Electron/30.1.0 Safari/537.36`,
    ['Electron', '30.1', '', 'Windows', ''],
  ],
  [
    'Chrome without a window',
    `${linux} ${blink} HeadlessChrome/131.0.6778.33 Safari/537.36`,
    ['HeadlessChrome', '131', '', 'Linux', ''],
  ],
]

export const appleDevices: readonly Row[] = [
  [
    'Safari on an iPhone',
    `Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) ${webKit} Version/17.5 Mobile/15E148 Safari/604.1`,
    ['Safari', '17.5', 'iPhone', 'iOS', '17.5'],
  ],
  [
    'Safari on an iPhone that claims an older version',
    `Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) ${webKit} Version/26.0 Mobile/15E148 Safari/604.1`,
    ['Safari', '26', 'iPhone', 'iOS', ''],
  ],
  [
    'Safari on an iPhone whose version is the newest of the honest ones',
    `Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) ${webKit} Version/18.6 Mobile/15E148 Safari/604.1`,
    ['Safari', '18.6', 'iPhone', 'iOS', '18.6'],
  ],
  [
    'Chrome on an iPhone',
    `Mozilla/5.0 (iPhone; CPU iPhone OS 17_7 like Mac OS X) ${webKit} CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1`,
    ['Chrome', '131', 'iPhone', 'iOS', '17.7'],
  ],
  [
    'Firefox on an iPhone',
    `Mozilla/5.0 (iPhone; CPU iPhone OS 14_7 like Mac OS X) ${webKit} FxiOS/132.0 Mobile/15E148 Safari/605.1.15`,
    ['Firefox', '132', 'iPhone', 'iOS', '14.7'],
  ],
  [
    'Edge on an iPhone',
    `Mozilla/5.0 (iPhone; CPU iPhone OS 17_7 like Mac OS X) ${webKit} Version/17.0 EdgiOS/131.0.2903.68 Mobile/15E148 Safari/604.1`,
    ['Edge', '131', 'iPhone', 'iOS', '17.7'],
  ],
  [
    'DuckDuckGo on an iPhone',
    `Mozilla/5.0 (iPhone; CPU iPhone OS 16_1_2 like Mac OS X) ${webKit} Version/16.1 Mobile/15E148 DuckDuckGo/7 Safari/605.1.15`,
    ['DuckDuckGo', '7', 'iPhone', 'iOS', '16.1'],
  ],
  [
    'Facebook on an iPhone',
    `Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) ${webKit} Mobile/21F90 [FBAN/FBIOS;FBAV/470.0.0.38.109;FBBV/609231;FBDV/iPhone14,5]`,
    ['Facebook', '470', 'iPhone', 'iOS', '17.5'],
  ],
  [
    'Instagram on an iPhone',
    `Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) ${webKit} Mobile/21E219 Instagram 334.0.4.32.98 (iPhone12,1; iOS 17_4; en_US)`,
    ['Instagram', '334', 'iPhone', 'iOS', '17.4'],
  ],
  [
    'a page within an app on an iPhone, which is not Safari',
    `Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) ${webKit} Mobile/15E148`,
    ['', '', 'iPhone', 'iOS', '17.5'],
  ],
  [
    'Safari on an iPod touch',
    `Mozilla/5.0 (iPod touch; CPU iPhone OS 15_8 like Mac OS X) ${webKit} Version/15.6 Mobile/15E148 Safari/604.1`,
    ['Safari', '15.6', 'iPod', 'iOS', '15.8'],
  ],
  [
    'Safari on an iPad that asks for mobile sites',
    `Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) ${webKit} Version/17.5 Mobile/15E148 Safari/604.1`,
    ['Safari', '17.5', 'iPad', 'iPadOS', '17.5'],
  ],
  [
    'Safari on an iPad of the time before iPadOS',
    `Mozilla/5.0 (iPad; CPU OS 12_5_7 like Mac OS X) ${webKit} Version/12.1.2 Mobile/15E148 Safari/604.1`,
    ['Safari', '12.1', 'iPad', 'iOS', '12.5'],
  ],
  [
    'Chrome on an iPad that asks for desktop sites',
    `Mozilla/5.0 (Macintosh; Intel Mac OS X 13_5_1) ${webKit} CriOS/119.0.6045.109 Version/13.0.3 Safari/605.1.15`,
    ['Chrome', '119', 'iPad', 'iPadOS', ''],
  ],
  [
    'Firefox on an iPad that asks for desktop sites',
    `Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:132.0) ${webKit} FxiOS/132.0 Safari/605.1.15`,
    ['Firefox', '132', 'iPad', 'iPadOS', ''],
  ],
]

export const androidDevices: readonly Row[] = [
  [
    'Chrome that sends neither model nor version',
    `${reducedAndroid} ${chrome} Mobile Safari/537.36`,
    ['Chrome', '131', '', 'Android', ''],
  ],
  [
    'Chrome on a tablet',
    `${reducedAndroid} ${chrome} Safari/537.36`,
    ['Chrome', '131', '', 'Android', ''],
  ],
  [
    'Chrome that sends the model',
    `Mozilla/5.0 (Linux; Android 13; SM-S911B) ${blink} Chrome/109.0.5414.117 Mobile Safari/537.36`,
    ['Chrome', '109', 'SM-S911B', 'Android', '13'],
  ],
  [
    'Chrome that sends the model and the build',
    `Mozilla/5.0 (Linux; Android 8.1.0; Pixel 2 XL Build/OPM2.171026.006) ${blink} Chrome/70.0.3538.80 Mobile Safari/537.36`,
    ['Chrome', '70', 'Pixel 2 XL', 'Android', '8.1'],
  ],
  [
    'Chrome on a make that is not a robot',
    `Mozilla/5.0 (Linux; Android 9; CUBOT_X19) ${blink} Chrome/88.0.4324.93 Mobile Safari/537.36`,
    ['Chrome', '88', 'CUBOT_X19', 'Android', '9'],
  ],
  [
    'Firefox on a phone',
    'Mozilla/5.0 (Android 14; Mobile; rv:132.0) Gecko/132.0 Firefox/132.0',
    ['Firefox', '132', '', 'Android', '14'],
  ],
  [
    'Firefox on a tablet',
    'Mozilla/5.0 (Android 13; Tablet; rv:131.0) Gecko/131.0 Firefox/131.0',
    ['Firefox', '131', '', 'Android', '13'],
  ],
  [
    'Samsung Internet',
    `Mozilla/5.0 (Linux; Android 13; SAMSUNG SM-S918B) ${blink} SamsungBrowser/21.0 Chrome/110.0.5481.154 Mobile Safari/537.36`,
    ['Samsung Internet', '21', 'SM-S918B', 'Android', '13'],
  ],
  [
    'Samsung Internet that hides the model',
    `${reducedAndroid} ${blink} SamsungBrowser/26.0 Chrome/122.0.0.0 Mobile Safari/537.36`,
    ['Samsung Internet', '26', '', 'Android', ''],
  ],
  [
    'Edge on a phone',
    `Mozilla/5.0 (Linux; Android 10; Pixel 3 XL) ${chrome} Mobile Safari/537.36 EdgA/131.0.2903.48`,
    ['Edge', '131', 'Pixel 3 XL', 'Android', '10'],
  ],
  [
    'Opera on a phone',
    `Mozilla/5.0 (Linux; Android 10; VOG-L29) ${chrome} Mobile Safari/537.36 OPR/76.2.4027.73374`,
    ['Opera', '76.2', 'VOG-L29', 'Android', '10'],
  ],
  [
    'Opera Mini',
    'Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16',
    ['Opera Mini', '36.2', '', 'Android', ''],
  ],
  [
    'UC Browser',
    `Mozilla/5.0 (Linux; U; Android 9; en-US; Redmi Note 8 Build/PKQ1.190616.001) ${blink} Version/4.0 Chrome/57.0.2987.108 UCBrowser/12.13.5.1209 Mobile Safari/537.36`,
    ['UC Browser', '12.13', 'Redmi Note 8', 'Android', '9'],
  ],
  [
    'DuckDuckGo on a phone',
    `Mozilla/5.0 (Linux; Android 12) ${blink} Version/4.0 Chrome/108.0.5359.128 Mobile DuckDuckGo/5 Safari/537.36`,
    ['DuckDuckGo', '5', '', 'Android', '12'],
  ],
  [
    'the browser of a Huawei phone',
    `Mozilla/5.0 (Linux; Android 10; HUAWEI ELE-L29) ${blink} Chrome/83.0.4103.106 Mobile Safari/537.36`,
    ['Chrome', '83', 'ELE-L29', 'Android', '10'],
  ],
  [
    'MIUI Browser',
    `Mozilla/5.0 (Linux; U; Android 11; de-de; M2101K6G Build/RKQ1.200826.002) ${blink} Version/4.0 Chrome/89.0.4389.116 Mobile Safari/537.36 XiaoMi/MiuiBrowser/12.16.3`,
    ['MIUI Browser', '12.16', 'M2101K6G', 'Android', '11'],
  ],
  [
    'Silk on a Fire tablet',
    `Mozilla/5.0 (Linux; Android 9; KFMAWI) ${blink} Silk/108.4.6 like Chrome/108.0.5359.160 Safari/537.36`,
    ['Amazon Silk', '108.4', 'KFMAWI', 'Android', '9'],
  ],
  [
    'a page within an app',
    `Mozilla/5.0 (Linux; Android 12; SM-G991B Build/SP1A.210812.016; wv) ${blink} Version/4.0 Chrome/114.0.5735.196 Mobile Safari/537.36`,
    ['Android WebView', '114', 'SM-G991B', 'Android', '12'],
  ],
  [
    'an app without a page',
    'Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B Build/TP1A.220624.014)',
    ['Dalvik', '2.1', 'SM-G991B', 'Android', '13'],
  ],
  [
    'a phone on KaiOS',
    'Mozilla/5.0 (Mobile; Nokia_8110_4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5',
    ['Firefox', '48', '', 'KaiOS', '2.5'],
  ],
]

export const consolesAndTelevisions: readonly Row[] = [
  [
    'an Xbox One',
    `Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) ${blink} Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763`,
    ['Edge', '18.17763', 'Xbox One', 'Xbox', ''],
  ],
  [
    'an Xbox Series X',
    `Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox Series X) ${chrome} Safari/537.36 Edg/131.0.0.0`,
    ['Edge', '131', 'Xbox Series X', 'Xbox', ''],
  ],
  [
    'a PlayStation 5',
    `Mozilla/5.0 (PlayStation; PlayStation 5/2.26) ${webKit} Version/13.0 Safari/605.1.15`,
    ['PlayStation', '', 'PlayStation 5', 'PlayStation', '2.26'],
  ],
  [
    'a PlayStation 4',
    'Mozilla/5.0 (PlayStation 4 11.00) AppleWebKit/605.1.15 (KHTML, like Gecko)',
    ['PlayStation', '', 'PlayStation 4', 'PlayStation', '11'],
  ],
  [
    'a Nintendo Switch',
    'Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/606.4 (KHTML, like Gecko) NF/6.0.1.15.4 NintendoBrowser/5.1.0.20393',
    ['NintendoBrowser', '5.1', 'Nintendo Switch', 'Nintendo', ''],
  ],
  [
    'a Samsung television',
    'Mozilla/5.0 (SMART-TV; LINUX; Tizen 5.5) AppleWebKit/537.36 (KHTML, like Gecko) 69.0.3497.106.1/5.5 TV Safari/537.36',
    ['Tizen', '', '', 'Tizen', '5.5'],
  ],
  [
    'an LG television',
    `Mozilla/5.0 (Web0S; Linux/SmartTV) ${blink} Chrome/87.0.4280.88 Safari/537.36 WebAppManager`,
    ['webOS', '', '', 'webOS', ''],
  ],
  [
    'a Sony television',
    `Mozilla/5.0 (Linux; Android 9; BRAVIA 4K UR2 Build/PTT1.190515.001.S104) ${blink} Chrome/88.0.4324.152 Safari/537.36`,
    ['Chrome', '88', 'BRAVIA 4K UR2', 'Android', '9'],
  ],
]

export const bots: readonly Row[] = [
  [
    'Googlebot',
    'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
    ['Googlebot', '2.1', '', '', ''],
  ],
  [
    'Googlebot that imitates a phone',
    `Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) ${chrome} Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)`,
    ['Googlebot', '2.1', '', '', ''],
  ],
  ['the Googlebot for images', 'Googlebot-Image/1.0', ['Googlebot-Image', '1', '', '', '']],
  [
    'the Googlebot for advertisements',
    'AdsBot-Google (+http://www.google.com/adsbot.html)',
    ['AdsBot-Google', '', '', '', ''],
  ],
  [
    'bingbot',
    'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36',
    ['bingbot', '2', '', '', ''],
  ],
  [
    'DuckDuckBot',
    'DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)',
    ['DuckDuckBot', '1.1', '', '', ''],
  ],
  [
    'YandexBot',
    'Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)',
    ['YandexBot', '3', '', '', ''],
  ],
  [
    'Baiduspider',
    'Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)',
    ['Baiduspider', '2', '', '', ''],
  ],
  [
    'Applebot that imitates a Mac',
    `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) ${webKit} Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)`,
    ['Applebot', '0.1', '', '', ''],
  ],
  [
    'GPTBot',
    'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)',
    ['GPTBot', '1.2', '', '', ''],
  ],
  [
    'ChatGPT-User',
    'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot',
    ['ChatGPT-User', '1', '', '', ''],
  ],
  [
    'ClaudeBot',
    'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)',
    ['ClaudeBot', '1', '', '', ''],
  ],
  [
    'facebookexternalhit',
    'facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)',
    ['facebookexternalhit', '1.1', '', '', ''],
  ],
  [
    'LinkedInBot',
    'LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)',
    ['LinkedInBot', '1', '', '', ''],
  ],
  [
    'Slackbot',
    'Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)',
    ['Slackbot-LinkExpanding', '', '', '', ''],
  ],
  ['Twitterbot', 'Twitterbot/1.0', ['Twitterbot', '1', '', '', '']],
  ['TelegramBot', 'TelegramBot (like TwitterBot)', ['TelegramBot', '', '', '', '']],
  [
    'the Internet Archive',
    'ia_archiver (+http://www.alexa.com/site/help/webmasters; crawler@alexa.com)',
    ['ia_archiver', '', '', '', ''],
  ],
]

export const programs: readonly Row[] = [
  ['curl', 'curl/8.5.0', ['curl', '8.5', '', '', '']],
  ['Wget', 'Wget/1.21.4', ['Wget', '1.21', '', '', '']],
  ['Wget that sends the system', 'Wget/1.20.3 (linux-gnu)', ['Wget', '1.20', '', 'Linux', '']],
  ['Python', 'python-requests/2.32.3', ['python-requests', '2.32', '', '', '']],
  ['Go', 'Go-http-client/1.1', ['Go-http-client', '1.1', '', '', '']],
  ['Go by HTTP/2', 'Go-http-client/2.0', ['Go-http-client', '2', '', '', '']],
  ['okhttp', 'okhttp/4.12.0', ['okhttp', '4.12', '', '', '']],
  ['Postman', 'PostmanRuntime/7.43.0', ['PostmanRuntime', '7.43', '', '', '']],
  ['fetch of Node', 'node', ['node', '', '', '', '']],
  ['axios', 'axios/1.7.9', ['axios', '1.7', '', '', '']],
  ['Java', 'Apache-HttpClient/4.5.14 (Java/17.0.13)', ['Apache-HttpClient', '4.5', '', '', '']],
  ['Ruby', 'Faraday v2.12.2', ['Faraday', '2.12', '', '', '']],
  [
    'PowerShell',
    'Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.22621.4391',
    ['PowerShell', '5.1', '', 'Windows', ''],
  ],
  [
    'a name of several words',
    'Microsoft Office/16.0 (Windows NT 10.0; 16.0.18227; Pro)',
    ['Microsoft Office', '16', '', 'Windows', ''],
  ],
  [
    'an app on an iPhone',
    'Shop/5.2.1 (iPhone; iOS 17.5.1; Scale/3.00)',
    ['Shop', '5.2', 'iPhone', 'iOS', '17.5'],
  ],
  [
    'an app that uses Alamofire',
    'Shop/5.2 (com.example.shop; build:14; iOS 17.5.0) Alamofire/5.9.1',
    ['Shop', '5.2', '', 'iOS', '17.5'],
  ],
  [
    'an app that sends no system',
    'Shop/14 CFNetwork/1496.0.7 Darwin/23.5.0',
    ['Shop', '14', '', '', ''],
  ],
]
