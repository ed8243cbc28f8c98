/**
 * Page-granular allocator with immediate coalescing: free runs of pages in segregated lists (TLSF: Masmano et al.,
 * "TLSF: a new dynamic memory allocator for real-time systems", 2004), eight size classes to a doubling.
 * All metadata is here, none in the pages.
 */

export const pageShift = 12;
export const pageBytes = 1 << pageShift;

const binCount = 160;
/** How many runs of the wanted class are looked at for a better fit. */
const searchLimit = 16;

function binOf(pages: number): number {
  if (pages < 8) return pages;
  const level = 31 - Math.clz32(pages);
  return (level - 2) * 8 + ((pages >>> (level - 3)) & 7);
}

export class PageAllocator {
  /** Length of a free run at its first and last page; 0 at every other page. */
  private tag: Int32Array;
  private next: Int32Array;
  private prev: Int32Array;
  private readonly heads = new Int32Array(binCount).fill(-1);
  private readonly nonEmpty = new Int32Array(binCount / 32);
  /** Pages up to here are managed. */
  private end = 0;
  freePages = 0;

  constructor(capacity: number) {
    this.tag = new Int32Array(capacity);
    this.next = new Int32Array(capacity);
    this.prev = new Int32Array(capacity);
  }

  /** Hands pages [first, first + count) to the allocator; `first` is at or after all pages it has. */
  extend(first: number, count: number): void {
    const capacity = first + count;
    if (capacity > this.tag.length) {
      const grown = Math.max(capacity, Math.ceil(this.tag.length * 1.5));
      this.tag = enlarge(this.tag, grown);
      this.next = enlarge(this.next, grown);
      this.prev = enlarge(this.prev, grown);
    }
    this.end = capacity;
    this.free(first, count);
  }

  /** First page of a run of `count` pages, or -1. */
  allocate(count: number): number {
    const found = this.find(count);
    if (found < 0) return -1;
    const length = this.tag[found] as number;
    this.unlink(found, length);
    if (length > count) this.link(found + count, length - count);
    this.freePages -= count;
    return found;
  }

  /** False if part of the run is already known to be free. */
  free(first: number, count: number): boolean {
    if (this.tag[first] !== 0 || this.tag[first + count - 1] !== 0) return false;
    this.freePages += count;
    const after = first + count;
    if (after < this.end) {
      const length = this.tag[after] as number;
      if (length > 0) {
        this.unlink(after, length);
        count += length;
      }
    }
    if (first > 0) {
      const length = this.tag[first - 1] as number;
      if (length > 0) {
        first -= length;
        this.unlink(first, length);
        count += length;
      }
    }
    this.link(first, count);
    return true;
  }

  /** Length of the free run that ends at the last managed page. */
  tailPages(): number {
    return this.end > 0 ? (this.tag[this.end - 1] as number) : 0;
  }

  /** Length of the longest free run. */
  longestRun(): number {
    for (let bin = binCount - 1; bin >= 0; bin--) {
      let longest = 0;
      for (let run = this.heads[bin] as number; run >= 0; run = this.next[run] as number)
        longest = Math.max(longest, this.tag[run] as number);
      if (longest > 0) return longest;
    }
    return 0;
  }

  private find(count: number): number {
    const bin = binOf(count);
    let best = -1;
    let bestLength = 0x7fffffff;
    let looked = 0;
    for (let run = this.heads[bin] as number; run >= 0 && looked < searchLimit; run = this.next[run] as number) {
      const length = this.tag[run] as number;
      if (length >= count && length < bestLength) {
        best = run;
        bestLength = length;
        if (length === count) break;
      }
      looked++;
    }
    if (best >= 0) return best;
    // Every run of a later class is long enough.
    let word = (bin + 1) >>> 5;
    let bits = (this.nonEmpty[word] as number) & (-1 << ((bin + 1) & 31));
    while (bits === 0) {
      word++;
      if (word >= this.nonEmpty.length) return this.findInBin(bin, count);
      bits = this.nonEmpty[word] as number;
    }
    return this.heads[word * 32 + 31 - Math.clz32(bits & -bits)] as number;
  }
  /** The whole list of one class, when nothing else is left. */
  private findInBin(bin: number, count: number): number {
    for (let run = this.heads[bin] as number; run >= 0; run = this.next[run] as number) {
      if ((this.tag[run] as number) >= count) return run;
    }
    return -1;
  }
  private link(first: number, count: number): void {
    const bin = binOf(count);
    this.tag[first] = count;
    this.tag[first + count - 1] = count;
    const head = this.heads[bin] as number;
    this.next[first] = head;
    this.prev[first] = -1;
    if (head >= 0) this.prev[head] = first;
    else this.nonEmpty[bin >>> 5] = (this.nonEmpty[bin >>> 5] as number) | (1 << (bin & 31));
    this.heads[bin] = first;
  }
  private unlink(first: number, count: number): void {
    const bin = binOf(count);
    this.tag[first] = 0;
    this.tag[first + count - 1] = 0;
    const before = this.prev[first] as number;
    const after = this.next[first] as number;
    if (after >= 0) this.prev[after] = before;
    if (before >= 0) this.next[before] = after;
    else {
      this.heads[bin] = after;
      if (after < 0) this.nonEmpty[bin >>> 5] = (this.nonEmpty[bin >>> 5] as number) & ~(1 << (bin & 31));
    }
  }
}

function enlarge(old: Int32Array, length: number): Int32Array {
  const grown = new Int32Array(length);
  grown.set(old);
  return grown;
}
