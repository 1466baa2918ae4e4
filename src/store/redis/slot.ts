/**
 * Returns the slot of an ASCII key on a Redis Cluster, 0 to 16383: the CRC-16 (XMODEM) of the text
 * between its first braces, or of the whole key (Redis Cluster specification, "Key distribution
 * model").
 */
export function slotOf(key: string): number {
  const tag = /\{([^}]+)\}/.exec(key)?.[1] ?? key
  let crc = 0
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)
    crc &= 0xffff
  }
  return crc % 16_384
}
