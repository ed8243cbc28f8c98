// A process that runs WGSL for the tests on Dawn. Its own process, because the Vulkan loader finds its library and driver by
// variables that must be set before it starts, and because nothing that happens in a driver may end the tests' process.
import process from 'node:process';

/** @type {GPUDevice | undefined} */
let device;
/** Held: Dawn stops answering when its instance is collected. */
let instance;

async function open() {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  instance = create([]);
  const adapter = await instance.requestAdapter();
  if (!adapter) return { adapter: null, reason: 'Dawn finds no adapter' };
  device = await adapter.requestDevice();
  return { adapter: `${adapter.info.vendor} ${adapter.info.description}`.trim() };
}

/** @type {Map<string, Promise<GPUComputePipeline>>} */
const pipelines = new Map();

async function compile(gpu, layout, code, entryPoint) {
  const module = gpu.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  const errors = messages.filter((m) => m.type === 'error').map((m) => `${m.lineNum}:${m.linePos} ${m.message}`);
  if (errors.length > 0) throw new Error(`${errors.join('\n')}\n${code}`);
  return gpu.createComputePipelineAsync({ layout, compute: { module, entryPoint } });
}

function pipelineOf(gpu, layout, code, entryPoint) {
  const key = `${entryPoint}\n${code}`;
  const made = pipelines.get(key) ?? compile(gpu, layout, code, entryPoint);
  pipelines.set(key, made);
  return made;
}

/** Every kind of error WebGPU reports beside its results; the results alone would be zeros. */
const scopes = ['validation', 'out-of-memory', 'internal'];

let layouts;
function layoutsOf(gpu) {
  layouts ??= (() => {
    const group = gpu.createBindGroupLayout({
      entries: [
        { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'storage' } },
        { binding: 1, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform' } },
      ],
    });
    return { group, pipeline: gpu.createPipelineLayout({ bindGroupLayouts: [group] }) };
  })();
  return layouts;
}

/** Runs dispatches one after the other over a heap; gives the heap as they leave it. */
async function run(gpu, { heap, dispatches }) {
  const { group, pipeline } = layoutsOf(gpu);
  // Compiled before anything is encoded: no pass stays open over a wait.
  const compiled = await Promise.all(dispatches.map(({ code, entryPoint }) => pipelineOf(gpu, pipeline, code, entryPoint)));
  for (const scope of scopes) gpu.pushErrorScope(scope);
  const made = [];
  const buffer = (size, usage, bytes) => {
    const b = gpu.createBuffer({ size, usage });
    if (bytes) gpu.queue.writeBuffer(b, 0, bytes);
    made.push(b);
    return b;
  };
  const work = async () => {
    const memory = buffer(heap.byteLength, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST, heap);
    const result = buffer(heap.byteLength, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const [i, { workgroups, bases }] of dispatches.entries()) {
      const uniform = buffer(bases.byteLength, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST, bases);
      const entries = [memory, uniform].map((b, binding) => ({ binding, resource: { buffer: b } }));
      pass.setPipeline(compiled[i]);
      pass.setBindGroup(0, gpu.createBindGroup({ layout: group, entries }));
      pass.dispatchWorkgroups(...workgroups);
    }
    pass.end();
    encoder.copyBufferToBuffer(memory, 0, result, 0, heap.byteLength);
    gpu.queue.submit([encoder.finish()]);
    await result.mapAsync(GPUMapMode.READ);
    const after = new Uint8Array(result.getMappedRange().slice(0));
    result.unmap();
    return { heap: after };
  };
  const outcome = await work().then(
    (result) => ({ result, failure: null }),
    (failure) => ({ result: null, failure }),
  );
  const errors = [];
  for (const _ of scopes) errors.push(await gpu.popErrorScope());
  const error = errors.find((e) => e !== null && e !== undefined);
  for (const b of made) b.destroy();
  if (outcome.failure) throw outcome.failure;
  if (error) throw new Error(error.message);
  return outcome.result;
}

process.on('message', async ({ id, request }) => {
  try {
    process.send({ id, reply: request === 'open' ? await open() : await run(device, request) });
  } catch (error) {
    process.send({ id, error: String(error instanceof Error ? error.message : error) });
  }
});
process.on('disconnect', () => process.exit(0));
