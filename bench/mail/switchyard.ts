/** Switchyard as `switchyard up` starts it, in one of its lanes. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { startInstallation } from '../../cli/up/installation.ts';
import type { ConfigurationInput } from '../../stores/configuration/schema.ts';
import type { Candidate } from './candidate.ts';
import { DESTINATION_DOMAIN, FORWARD_DOMAIN, FORWARD_HOST, type World } from './world.ts';

const CHECKS = 'SPF, DKIM, DMARC, ARC';

type Lane = 'run' | 'direct' | 'direct, unsigned';

/** What a lane does with a message, for the table. */
export function checksOf(lane: Lane): string {
  const signs = lane !== 'direct, unsigned';
  return `${CHECKS}${signs ? ', ARC seal, DKIM signature' : ''}, SRS, record${lane === 'run' ? ', durable run' : ''}`;
}

export function configurationFor(lane: Lane, world: World): ConfigurationInput {
  const signs = lane !== 'direct, unsigned';
  return {
    hostname: FORWARD_HOST,
    logLevel: 'warn',
    dns: { servers: [`${world.dns.host}:${world.dns.port}`] },
    outbound: { transport: { [DESTINATION_DOMAIN]: `${world.sink.host}:${world.sink.port}` } },
    inbox: { enabled: false },
    mail: {
      runs: lane === 'run' ? 'always' : 'deferred',
      signing: { dkim: signs, arc: signs },
      limits: { connectionsPerAddress: 500 },
      domains: { [FORWARD_DOMAIN]: { rules: [{ address: '*', forward: [`box@${DESTINATION_DOMAIN}`] }] } },
    },
  };
}

export function switchyard(lane: Lane): Candidate {
  return {
    name: `Switchyard, ${lane}`,
    does: checksOf(lane),
    async start(world, folder) {
      await writeFile(join(folder, 'switchyard.yaml'), stringify(configurationFor(lane, world)));
      const installation = await startInstallation({ folder, anyPort: true, quiet: true });
      const parts = Object.fromEntries(installation.processes.map(({ name, pid }) => [name, [pid]]));
      return { port: installation.addresses.smtp.port, parts, close: () => installation.stop() };
    },
  };
}
