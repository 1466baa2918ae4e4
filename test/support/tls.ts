/** A certificate and its private key, as `https.createServer` takes them. */
export interface TestCertificate {
  /** The private key, in PEM. */
  readonly key: string
  /** The certificate, in PEM; also what a client takes as `ca`. */
  readonly cert: string
}

// Made in bash, in an empty directory, with OpenSSL 3 (`openssl ca` and not `openssl req -x509`, which
// cannot set the first day):
//
//   openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
//     -keyout key.pem -out request.pem
//   touch index
//   openssl ca -selfsign -batch -notext -config <(printf '%s\n' \
//     '[ca]' default_ca=d '[d]' database=index new_certs_dir=. policy=p default_md=sha256 \
//     rand_serial=yes x509_extensions=e '[p]' commonName=supplied '[e]' \
//     basicConstraints=critical,CA:TRUE subjectAltName=DNS:localhost,IP:127.0.0.1) \
//     -startdate 20260101000000Z -enddate 21260101000000Z \
//     -keyfile key.pem -in request.pem -out cert.pem
//
// The key protects nothing: it is public on purpose, and only used by tests.
const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6CdjbK1dlXfIn6ol
VX/ck/Z6RBVvX31Sb/02O8zuAGihRANCAATQFP9WfOJcXjkH4WITMOQe47pMTBED
yB9o2RccvjITR2z9VZ/6oeJLsku2fU+rGmOGujZHTsSG91y1HbB3Knpm
-----END PRIVATE KEY-----
`

const cert = `-----BEGIN CERTIFICATE-----
MIIBezCCASCgAwIBAgIUb/M5j6KH9NklNiAOORGvJWqTsKUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MDEwMTAwMDAwMFoYDzIxMjYwMTAx
MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATQFP9WfOJcXjkH4WITMOQe47pMTBEDyB9o2RccvjITR2z9VZ/6oeJL
sku2fU+rGmOGujZHTsSG91y1HbB3Knpmo04wTDAPBgNVHRMBAf8EBTADAQH/MBoG
A1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAdBgNVHQ4EFgQUlQhwseparBAzz3/A
vy0GYJ16p68wCgYIKoZIzj0EAwIDSQAwRgIhAJijuLq2bzOscZ4RW7xNxH/R/ISZ
DcH2L441wiPxmrWpAiEAsQTeFyL6AZl6ylCPoltPALDyiG8AUgBbVV8ZG2DrQxM=
-----END CERTIFICATE-----
`

/**
 * A self-signed certificate for HTTPS tests on `localhost` and 127.0.0.1, valid from 2026 to 2126.
 *
 * @returns The same certificate and key each time.
 */
export function selfSignedCertificate(): TestCertificate {
  return { key, cert }
}
