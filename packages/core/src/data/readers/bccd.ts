/** BCCD (Shenggan and Nicolas Chen, github.com/Shenggan/BCCD_Dataset; MIT): 364 photos of blood cells with boxes. Node only. */
import { downloadFolder } from '../../io/download-folder.js';

export interface BccdOptions {
  /** Address of a zip archive to download in place of GitHub's; the photos must be those of the data set all the same. */
  readonly url?: string | undefined;
  /** Folder for what is downloaded; `cacheFolder('downloads')` unless told otherwise. */
  readonly cacheDir?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Red cells, white cells and platelets, as the annotations name them. */
export const bccdClassNames = ['RBC', 'WBC', 'Platelets'] as const;

const commit = 'd272fb14cdff6e473fafeeeba32aba5f560e9e43';

/**
 * The folder of the data set for `readVoc`, with the sets `train` (205), `val` (87), both as `trainval` (292), and `test` (72): downloaded
 * once (8 MB), checked and kept. Two of the boxes of `trainval` have no area.
 * @throws EnvironmentError when it cannot be had, FormatError when it is another archive, the signal's reason when aborted.
 */
export async function bccdFolder({ url, cacheDir, signal }: BccdOptions = {}): Promise<string> {
  return downloadFolder(url ?? `https://codeload.github.com/Shenggan/BCCD_Dataset/zip/${commit}`, {
    name: 'bccd',
    inside: `BCCD_Dataset-${commit}/BCCD`,
    gitTree: 'e4ad516b612329e16143e94f47a478d5832395d3',
    maxBytes: 2 ** 26,
    ...(cacheDir === undefined ? {} : { cacheDir }),
    signal,
    fix: 'Download github.com/Shenggan/BCCD_Dataset another way and give its folder BCCD.',
  });
}
