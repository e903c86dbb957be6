/** Switchyard as `switchyard up` starts it, in one of its lanes. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { startInstallation } from '../../cli/up/installation.ts';
import type { ConfigurationInput } from '../../stores/configuration/schema.ts';
import type { Candidate } from './candidate.ts';
import { DESTINATION_DOMAIN, FORWARD_DOMAIN, FORWARD_HOST } from './world.ts';

const CHECKS = 'SPF, DKIM, DMARC, ARC';

export function switchyard(lane: 'run' | 'direct' | 'direct, unsigned'): Candidate {
  const signs = lane !== 'direct, unsigned';
  return {
    name: `Switchyard, ${lane}`,
    does: `${CHECKS}${signs ? ', ARC seal, DKIM signature' : ''}, SRS, record${lane === 'run' ? ', durable run' : ''}`,
    async start(world, folder) {
      const configuration: ConfigurationInput = {
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
      await writeFile(join(folder, 'switchyard.yaml'), stringify(configuration));
      const installation = await startInstallation({ folder, anyPort: true, quiet: true });
      const parts = Object.fromEntries(installation.processes.map(({ name, pid }) => [name, [pid]]));
      return { port: installation.addresses.smtp.port, parts, close: () => installation.stop() };
    },
  };
}
