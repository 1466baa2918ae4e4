const here = 'http://shop.invalid'

/**
 * Where to go after signing in: only ever a page of this shop, so that a link to the sign-in page
 * cannot send people on to another site (CWE-601).
 *
 * @param wanted From the address or a form: anybody's text.
 * @returns A path of this shop; `/` for everything else.
 */
export function localPath(wanted: string | null): string {
  if (!wanted?.startsWith('/') || !URL.canParse(wanted, here)) return '/'
  // Read as browsers read it: they drop tabs and line feeds, and take `\` for `/`.
  const { origin, pathname, search } = new URL(wanted, here)
  // `/.//example.com` has a path of two slashes when the dot is gone, and those name a host.
  return origin === here && !pathname.startsWith('//') ? pathname + search : '/'
}
