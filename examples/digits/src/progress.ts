/** Progress of long work: a bar on a terminal, a plain line now and then elsewhere. */
import type { WriteStream } from 'node:tty';

export class Progress {
  private readonly out: WriteStream;
  private total = 1;
  private started = 0;
  private shown = 0;

  constructor(out: WriteStream) {
    this.out = out;
  }
  start(total: number): void {
    this.total = total;
    this.started = performance.now();
    this.shown = this.started;
  }
  advance(done: number, text: string): void {
    const now = performance.now();
    const last = done === this.total;
    // A bar is redrawn ten times a second; a log gets a line every ten seconds.
    if (!last && now - this.shown < (this.out.isTTY ? 100 : 10_000)) return;
    this.shown = now;
    const share = done / this.total;
    const left = ((now - this.started) / 1000) * (1 / share - 1);
    const status = `${String(Math.floor(100 * share)).padStart(3)} %  ${text}  ${last ? `${((now - this.started) / 1000).toFixed(1)} s` : `${left.toFixed(0)} s left`}`;
    if (!this.out.isTTY) {
      this.out.write(`${status}\n`);
      return;
    }
    const width = Math.max(10, Math.min(30, (this.out.columns ?? 80) - status.length - 4));
    const full = Math.round(share * width);
    this.out.write(`\r\u001b[K${'█'.repeat(full)}${'░'.repeat(width - full)} ${status}`);
  }
  /** A line of its own, above the bar. */
  line(text: string): void {
    this.out.write(this.out.isTTY ? `\r\u001b[K${text}\n` : `${text}\n`);
  }
  end(): void {
    if (this.out.isTTY) this.out.write('\n');
  }
}
