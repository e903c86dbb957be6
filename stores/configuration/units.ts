/** Durations and sizes as people write them in `switchyard.yaml`. */
import { z } from 'zod';

const MILLISECONDS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const BYTES = {
  B: 1,
  KB: 1_000,
  MB: 1_000_000,
  GB: 1_000_000_000,
  KiB: 1_024,
  MiB: 1_048_576,
  GiB: 1_073_741_824,
} as const;

/** `30s`, `5m`, `4h`, `5d`, `250ms` to milliseconds. */
export const Duration = z
  .string()
  .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'write a duration with its unit, such as 30s, 5m, 4h or 5d')
  .transform((text) => {
    const [, amount, unit] = /^([\d.]+)(\w+)$/.exec(text) as unknown as [string, string, keyof typeof MILLISECONDS];
    return Math.round(Number(amount) * MILLISECONDS[unit]);
  });

/** `25MiB`, `64KB`, or a plain number of bytes, to bytes. */
export const Size = z.union([
  z.number().int().positive(),
  z
    .string()
    .regex(/^\d+(\.\d+)?(B|KB|MB|GB|KiB|MiB|GiB)$/, 'write a size with its unit, such as 25MiB')
    .transform((text) => {
      const [, amount, unit] = /^([\d.]+)(\w+)$/.exec(text) as unknown as [string, string, keyof typeof BYTES];
      return Math.round(Number(amount) * BYTES[unit]);
    }),
]);
