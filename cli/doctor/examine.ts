/** Runs the checks of `switchyard doctor` in the order in which one depends on the other. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createResolver } from '../../activities/network/dns.ts';
import { messageOf, SwitchyardError } from '../../protocols/errors.ts';
import { resolveAddresses, RUN_FILE } from '../../stores/configuration/addresses.ts';
import { loadConfiguration } from '../../stores/configuration/load.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { isAlive } from '../up/birth.ts';
import type { RunFile } from '../up/run-file.ts';
import { fail, failed, ok, type Check, type DoctorContext, type Finding } from './check.ts';
import { checkEditor } from './editor.ts';
import { checkClock, checkDisk, checkNode, checkState } from './machine.ts';
import { checkDomains, checkOutbound, checkResolver, checkTls } from './network.ts';
import { checkPorts, checkRunning, checkSmtp, checkTemporal, checkWorker } from './processes.ts';
import { checkBlobs, checkKeys, checkRecords } from './stores.ts';

const CHECKS: Record<string, Check> = {
  'state folder': checkState,
  disk: checkDisk,
  records: checkRecords,
  blobs: checkBlobs,
  keys: checkKeys,
  clock: checkClock,
  running: checkRunning,
  ports: checkPorts,
  Temporal: checkTemporal,
  worker: checkWorker,
  SMTP: checkSmtp,
  TLS: checkTls,
  DNS: checkResolver,
  domains: checkDomains,
  outbound: checkOutbound,
  editor: checkEditor,
};

/**
 * Looks at everything. Never throws for what it finds.
 * @param file configuration file; without one, `switchyard.yaml` of the working folder
 */
export async function examine(
  file: string | undefined,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Finding[]> {
  let configuration: Configuration;
  try {
    configuration = await loadConfiguration({ file });
  } catch (error) {
    return [checkNode(), failed('configuration', error, 'Compare it with what switchyard init writes.')];
  }
  return [checkNode(), ok('configuration', 'readable'), ...(await examineWith(contextFor(configuration, environment)))];
}

/** What the checks are given for a configuration. */
export function contextFor(configuration: Configuration, environment: NodeJS.ProcessEnv): DoctorContext {
  return {
    configuration,
    addresses: resolveAddresses(configuration, environment),
    running: readRunning(configuration.state),
    resolver: createResolver(configuration.dns),
    environment,
  };
}

async function examineWith(context: DoctorContext): Promise<Finding[]> {
  const findings = await Promise.all(
    Object.entries(CHECKS).map(([name, check]) =>
      check(context).catch((error: unknown) => {
        const fix =
          error instanceof SwitchyardError ? error.fix : 'Run it again with DEBUG=1, and report what it says.';
        return [fail(name, `could not be looked at: ${messageOf(error)}`, fix)];
      }),
    ),
  );
  return findings.flat();
}

/** The installation that runs on the folder; a file that a killed one left behind is none. */
function readRunning(state: string): RunFile | null {
  try {
    const run = JSON.parse(readFileSync(join(state, RUN_FILE), 'utf8')) as RunFile;
    return run.pids.supervisor && isAlive(run.pids.supervisor) ? run : null;
  } catch {
    return null;
  }
}
