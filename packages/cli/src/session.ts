/** The device and the signals of one command. */
import process from 'node:process';
import { createCpuDevice, defaultDevice, setDefaultDevice, TriremeError } from 'trireme';
import { ConfigError, exitCodes, Interrupted } from './errors.js';

export interface DeviceFlags {
  readonly threads?: number;
  readonly tier?: 'auto' | 'native' | 'wasm';
}

/** Makes the device of this process, before a script can make tensors. @throws ConfigError when the environment asks for the impossible */
export function prepareDevice({ threads, tier }: DeviceFlags): void {
  try {
    if (threads !== undefined || tier !== undefined) setDefaultDevice(createCpuDevice({ threads, tier }));
    else defaultDevice();
  } catch (error) {
    if (error instanceof TriremeError) throw new ConfigError({ message: error.message }, error);
    throw error;
  }
}

export interface Interruption {
  readonly signal: AbortSignal;
  /** Lets go of the signals. */
  release(): void;
}

/** SIGINT and SIGTERM abort the signal; the second one ends the process at once. `notice` is said at the first. */
export function onInterrupt(notice: string): Interruption {
  const controller = new AbortController();
  const handle = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(exitCodes.interrupted);
    process.stderr.write(`\n${notice}\n`);
    controller.abort(new Interrupted(signal));
  };
  process.on('SIGINT', handle);
  process.on('SIGTERM', handle);
  return {
    signal: controller.signal,
    release: () => {
      process.off('SIGINT', handle);
      process.off('SIGTERM', handle);
    },
  };
}
