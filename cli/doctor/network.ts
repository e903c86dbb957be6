/** The way in and out: DNS, what our domains publish, outbound SMTP, the TLS certificate. */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { promises as dns } from 'node:dns';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import mailauth from 'mailauth';
import { createDialer } from '../../activities/network/smtp-dialer.ts';
import { messageOf } from '../../protocols/errors.ts';
import { parseAddress } from '../../protocols/mail/address.ts';
import { dkimRecord } from '../../protocols/mail/dns-record.ts';
import { openRecords } from '../../stores/records/open.ts';
import { fail, failed, ok, warn, type Check, type DoctorContext, type Finding } from './check.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const DAY_MS = 86_400_000;
/** Renewal tools renew a month before; two weeks is a renewal that fails. */
const RENEW_DAYS = 14;
/** Any answer will do, also that there is nothing. */
const ANSWERED = new Set(['ENOTFOUND', 'ENODATA']);

export const checkResolver: Check = async ({ configuration }) => {
  const servers = configuration.dns.servers;
  const resolver = new dns.Resolver({ timeout: configuration.dns.timeout, tries: 1 });
  const shown = servers.length > 0 ? servers.join(', ') : `the system's resolver (${resolver.getServers().join(', ')})`;
  try {
    if (servers.length > 0) resolver.setServers(servers);
    await resolver.resolveNs('.').catch((error: NodeJS.ErrnoException) => {
      if (!ANSWERED.has(error.code ?? '')) throw error;
    });
    return [ok('DNS', shown)];
  } catch (error) {
    const found = `${shown} gives no answer: ${messageOf(error)}`;
    const fix =
      'Mend the network, or name resolvers that answer in dns.servers. Until then senders are told to come again (451).';
    const isDemo = Object.keys(configuration.mail.domains).every((domain) => domain in configuration.dns.zones);
    return [isDemo ? warn('DNS', `${found}; the demo domain does without`, fix) : fail('DNS', found, fix)];
  }
};

/** What each mail domain publishes, as the world sees it. */
export const checkDomains: Check = async (context) => {
  const domains = Object.keys(context.configuration.mail.domains);
  if (domains.length === 0)
    return [
      warn(
        'domains',
        'no mail domain is declared',
        'Declare one under mail.domains in switchyard.yaml; switchyard init writes an example.',
      ),
    ];
  return (await Promise.all(domains.map((domain) => checkDomain(domain, context)))).flat();
};

async function checkDomain(domain: string, context: DoctorContext): Promise<Finding[]> {
  if (domain in context.configuration.dns.zones) return [ok(domain, 'answered from dns.zones; nothing to publish')];
  const checks = { MX: checkMx, DKIM: checkDkim, SPF: checkSpf, DMARC: checkDmarc };
  return Promise.all(
    Object.entries(checks).map(([kind, check]) =>
      check(domain, context).catch((error: unknown) =>
        failed(`${domain} ${kind}`, error, 'Mend DNS first, then look again.'),
      ),
    ),
  );
}

async function checkMx(domain: string, { resolver, configuration: { hostname } }: DoctorContext): Promise<Finding> {
  const name = `${domain} MX`;
  const exchanges = (await resolver.mx(domain)).map((one) => one.exchange);
  if (exchanges.length === 0) return fail(name, 'none is published', `Publish: ${domain}. IN MX 10 ${hostname}.`);
  const shown = exchanges.join(', ');
  if (exchanges.includes(hostname)) return ok(name, shown);
  const own = await resolver.addresses(hostname);
  const theirs = (await Promise.all(exchanges.map((exchange) => resolver.addresses(exchange)))).flat();
  if (own.some((address) => theirs.includes(address))) return ok(name, `${shown}, which is this host`);
  return fail(
    name,
    `${shown}; this host is ${hostname}`,
    `Publish: ${domain}. IN MX 10 ${hostname}. Or set hostname in switchyard.yaml to the name in the MX record.`,
  );
}

async function checkDkim(domain: string, { resolver, configuration }: DoctorContext): Promise<Finding> {
  const name = `${domain} DKIM`;
  const records = await openRecords(configuration);
  const key = await records.keys.newest(domain).finally(() => records.close());
  if (!key) return fail(name, 'there is no key for the domain', `switchyard keys create ${domain}`);
  const wanted = dkimRecord(key);
  const published = await resolver.txt(wanted.name);
  const fix = `Publish what this prints: switchyard keys records ${domain}`;
  if (published.length === 0)
    return fail(name, `${wanted.name} is not published, so our signatures and seals fail`, fix);
  const hasOurs = published.some((record) => publicKeyOf(record) === publicKeyOf(wanted.value));
  return hasOurs ? ok(name, wanted.name) : fail(name, `${wanted.name} holds another key`, fix);
}

/** The p= tag without the white space that providers put in (RFC 6376, 3.6.1). */
function publicKeyOf(record: string): string {
  return /(?:^|;)\s*p\s*=([^;]*)/.exec(record)?.[1]?.replace(/\s/g, '') ?? '';
}

async function checkSpf(domain: string, { resolver, configuration: { hostname } }: DoctorContext): Promise<Finding> {
  const name = `${domain} SPF`;
  const published = (await resolver.txt(domain)).filter((record) => /^v=spf1( |$)/i.test(record));
  const fix = `Publish: ${domain}. IN TXT "v=spf1 a:${hostname} -all", or add a:${hostname} to the record that is there.`;
  if (published.length === 0)
    return fail(name, 'none is published; forwarded mail leaves with this domain as its sender', fix);
  if (published.length > 1)
    return fail(name, `${published.length} records, which is an error (RFC 7208, 4.5)`, 'Make one of them.');
  const [address] = await resolver.addresses(hostname);
  if (address === undefined)
    return warn(
      name,
      `${published[0]}; ${hostname} has no address to try it with`,
      `Publish an A or AAAA record for ${hostname}.`,
    );
  const { status } = await mailauth.spf({
    ip: address,
    sender: `postmaster@${domain}`,
    helo: hostname,
    mta: hostname,
    resolver: resolver.resolve,
  });
  return status.result === 'pass'
    ? ok(name, published[0] ?? '')
    : fail(name, `${status.result} for ${address} (${hostname}): ${published[0]}`, fix);
}

async function checkDmarc(domain: string, { resolver }: DoctorContext): Promise<Finding> {
  const name = `${domain} DMARC`;
  const [record] = (await resolver.txt(`_dmarc.${domain}`)).filter((one) => /^v=DMARC1(;|$)/.test(one));
  if (record !== undefined) return ok(name, record);
  return warn(
    name,
    'no policy is published',
    `Publish: _dmarc.${domain}. IN TXT "v=DMARC1; p=none", and tighten it once reports look right.`,
  );
}

/** Many networks close port 25 on the way out; the first destination shows it. */
export const checkOutbound: Check = async ({ configuration, addresses, resolver }) => {
  const { domains } = configuration.mail;
  const destinations = Object.values(domains).flatMap(({ rules }) => rules.flatMap((rule) => rule.forward ?? []));
  const transport = configuration.outbound.transport;
  const byMx = destinations
    .map((one) => parseAddress(one).domain)
    .find((domain) => !(domain in transport) && !('*' in transport));
  if (byMx === undefined) return [ok('outbound', 'every destination has its way in outbound.transport')];
  const dialer = createDialer({ configuration, resolver, hostname: configuration.hostname, inbox: addresses.inbox });
  try {
    const { hosts } = await dialer.route(byMx, AbortSignal.timeout(CONNECT_TIMEOUT_MS));
    const [host] = hosts;
    const [address] = host?.addresses ?? [];
    if (!host || address === undefined)
      return [
        warn(
          'outbound',
          `${byMx} has no host that may be connected to`,
          'See outbound.allow, or the MX records of that domain.',
        ),
      ];
    await reach(address, host.port);
    return [ok('outbound', `${host.host}:${host.port} for ${byMx} can be reached`)];
  } catch (error) {
    const fix = `If the network closes port ${configuration.outbound.port}, ask for it to be opened, or send through a smarthost: outbound.transport { "*": host:port }.`;
    return [warn('outbound', `mail for ${byMx} finds no way: ${messageOf(error)}`, fix)];
  } finally {
    await dialer.close();
  }
};

function reach(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: CONNECT_TIMEOUT_MS });
    const end = (act: () => void) => {
      socket.destroy();
      act();
    };
    socket.on('connect', () => end(resolve));
    socket.on('timeout', () =>
      end(() => reject(new Error(`${host}:${port} does not answer within ${CONNECT_TIMEOUT_MS / 1_000} s`))),
    );
    socket.on('error', (error) => end(() => reject(error)));
  });
}

export const checkTls: Check = async ({ configuration: { mail, hostname } }) => {
  if (!mail.tls) return [ok('TLS', 'a self-signed certificate, which senders of opportunistic TLS take')];
  const renew = 'Renew it (certbot renew, or your own authority), then start smtp again.';
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(await readFile(mail.tls.certificate));
    if (!certificate.checkPrivateKey(createPrivateKey(await readFile(mail.tls.key))))
      return [
        fail(
          'TLS',
          `${mail.tls.key} is not the key of ${mail.tls.certificate}`,
          'Name the pair that belongs together in mail.tls.',
        ),
      ];
  } catch (error) {
    return [fail('TLS', messageOf(error), 'Name two PEM files that the smtp process may read in mail.tls.')];
  }
  const until = Date.parse(certificate.validTo);
  const found = `valid until ${new Date(until).toISOString().slice(0, 10)}`;
  if (until < Date.now()) return [fail('TLS', `expired on ${new Date(until).toISOString().slice(0, 10)}`, renew)];
  if (Date.parse(certificate.validFrom) > Date.now())
    return [
      fail(
        'TLS',
        `not valid before ${certificate.validFrom}`,
        'See the clock, or take the certificate that is valid now.',
      ),
    ];
  if (certificate.checkHost(hostname) === undefined)
    return [
      warn(
        'TLS',
        `the certificate is not for ${hostname}`,
        'Get one for the host name: senders that follow MTA-STS or DANE refuse it.',
      ),
    ];
  return [until - Date.now() < RENEW_DAYS * DAY_MS ? warn('TLS', found, renew) : ok('TLS', found)];
};
