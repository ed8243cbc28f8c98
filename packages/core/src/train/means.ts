/** Means of named numbers, weighted by items. */
export class Means {
  private readonly sums = new Map<string, { sum: number; weight: number }>();

  add(values: Readonly<Record<string, number>>, weight: number): void {
    for (const [name, value] of Object.entries(values)) {
      const entry = this.sums.get(name);
      if (entry) {
        entry.sum += value * weight;
        entry.weight += weight;
      } else this.sums.set(name, { sum: value * weight, weight });
    }
  }
  values(): Record<string, number> {
    return Object.fromEntries(Array.from(this.sums, ([name, { sum, weight }]) => [name, sum / weight]));
  }
  clear(): void {
    this.sums.clear();
  }
  state(): MeansState {
    return Object.fromEntries(Array.from(this.sums, ([name, { sum, weight }]) => [name, [sum, weight]]));
  }
  load(state: MeansState): void {
    this.sums.clear();
    for (const [name, [sum, weight]] of Object.entries(state)) this.sums.set(name, { sum, weight });
  }
}
export type MeansState = { readonly [name: string]: readonly [sum: number, weight: number] };
