/** Trireme as a side of a comparison. */
import { defaultDevice } from 'trireme';
import { measureRoof } from 'trireme/profiler';
import { option, Refused, serve } from './serve.mjs';
import { prepare, tierInUse } from './trireme/index.mjs';

await serve(
  (workload) => {
    const prepared = prepare(workload);
    const asked = option('tier', 'auto');
    if (asked === 'native' && tierInUse() !== 'native') throw new Refused('the native tier is not to be had here');
    return { ...prepared, info: () => ({ tier: tierInUse(), threads: defaultDevice().threads }) };
  },
  { roof: () => measureRoof(defaultDevice()) },
);
