/** `TRIREME_DEBUG=1..4`: programs, programs after the passes, kernels, generated code. */

let level: number | null = null;

export function debugLevel(): number {
  if (level === null) {
    const text = typeof process === 'object' ? process.env?.TRIREME_DEBUG : undefined;
    const parsed = Number(text ?? 0);
    level = Number.isFinite(parsed) ? parsed : 0;
  }
  return level;
}

const titles = ['', 'program', 'program after passes', 'kernels', 'code'];

export function debugPrint(at: number, text: string): void {
  console.error(`[trireme ${titles[at] ?? at}]\n${text}\n`);
}
