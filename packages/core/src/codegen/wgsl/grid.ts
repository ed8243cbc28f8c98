/** WebGPU allows 65535 workgroups along each axis of a dispatch; longer lists of them are folded into rows. */
const widest = 32768;

export function workgroups(count: number): readonly [number, number, number] {
  return count <= widest ? [count, 1, 1] : [widest, Math.ceil(count / widest), 1];
}
/** The number of this workgroup in its list, of type u32; the last row may go beyond the list's end. */
export function linearGroup(groups: readonly [number, number, number]): string {
  return groups[1] === 1 ? 'group.x' : `group.y * ${groups[0]}u + group.x`;
}
