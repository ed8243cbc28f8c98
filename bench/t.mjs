import { FULL, QUICK, pairing } from './lib/measure.mjs';
import { defectOf, page, rowOf } from './lib/report.mjs';
import { PEERS } from './lib/side.mjs';
import { WORKLOADS } from './workloads.mjs';
const rows=[];
for (const w of WORKLOADS.filter(w=>['mlp-train','start-up','gemm-256','embedding-train','eager-add'].includes(w.name))) for (const peer of ['tfjs-wasm','jax-js']) for (const n of [1,2]) {
 const [a,b]=await pairing(PEERS['jax-js'](n), PEERS[peer](n), w, QUICK);
 const row=rowOf({workload:w,threads:n,tier:'wasm',peer,ours:a,theirs:b}); rows.push(row); console.error(w.name,peer,row.oursMs,row.peerMs,row.ratio,row.ratioRange,row.verdict,defectOf(row));
}
console.log(JSON.stringify(rows[0],null,1)); console.log(page(rows,{cpu:'x',node:'20',versions:{a:'1'},date:'d'}));
