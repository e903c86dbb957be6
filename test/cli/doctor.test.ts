/** Each check of the doctor meets the thing broken for real, and says its fix. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';
import { generate } from 'selfsigned';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startDnsServer, type DnsServer, type Zones } from '../../cli/demo/dns-server.ts';
import type { Check, Finding } from '../../cli/doctor/check.ts';
import { contextFor, examine } from '../../cli/doctor/examine.ts';
import { checkEditor } from '../../cli/doctor/editor.ts';
import { checkClock, checkDisk, checkNode, checkState } from '../../cli/doctor/machine.ts';
import { checkDomains, checkOutbound, checkResolver, checkTls } from '../../cli/doctor/network.ts';
import { checkPorts, checkRunning, checkSmtp, checkTemporal, checkWorker } from '../../cli/doctor/processes.ts';
import { checkKeys, checkRecords } from '../../cli/doctor/stores.ts';
import { N8N_VERSION } from '../../cli/editor/provide.ts';
import { identify, type ProcessIdentity } from '../../cli/up/birth.ts';
import { writeRunFile, type RunFile } from '../../cli/up/run-file.ts';
import { createLog } from '../../servers/log.ts';
import { startSmtp } from '../../servers/smtp/server.ts';
import { resolveAddresses, type Endpoint } from '../../stores/configuration/addresses.ts';
import { dkimRecord } from '../../protocols/mail/dns-record.ts';
import { Configuration, type ConfigurationInput } from '../../stores/configuration/schema.ts';
import { openKeys } from '../../stores/keys/open.ts';
import { openRecords } from '../../stores/records/open.ts';
import { sharedTemporal } from '../setup/temporal.ts';

let folder: string;
let state: string;
const closing: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'doctor-'));
  state = join(folder, 'state');
  mkdirSync(state, { mode: 0o700 });
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

/** One check under a configuration, on a state folder of its own. */
async function look(
  check: Check,
  input: ConfigurationInput = {},
  environment: NodeJS.ProcessEnv = {},
): Promise<Finding[]> {
  return check(contextFor(Configuration.parse({ state, ...input }), environment));
}

async function makeKeys(...domains: string[]) {
  const records = await openRecords({ state });
  const keys = await openKeys(records, { state });
  const made = [];
  for (const domain of domains) made.push(await keys.create(domain));
  await records.close();
  return made;
}

async function names(zones: Zones): Promise<DnsServer> {
  const server = await startDnsServer(zones);
  closing.push(() => server.close());
  return server;
}

async function listener(): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => socket.on('error', () => undefined));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => server.close());
  return { server, port: (server.address() as AddressInfo).port };
}

/** A port of loopback that was free a moment ago. */
async function closedPort(): Promise<number> {
  const { server, port } = await listener();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('the machine', () => {
  it('wants Node 24', () => {
    expect(checkNode('20.19.5')).toMatchObject({ state: 'fail', fix: expect.stringContaining('Install Node 24') });
    expect(checkNode()).toMatchObject({ state: 'ok' });
  });

  it('says where the configuration is wrong and looks no further', async () => {
    const file = join(folder, 'switchyard.yaml');
    writeFileSync(file, 'mail:\n  listen:\n    port: eighty\n');
    const findings = await examine(file, {});
    expect(findings.map(({ name }) => name)).toEqual(['Node', 'configuration']);
    expect(findings[1]).toMatchObject({ state: 'fail', found: expect.stringContaining('3:11') });
    expect(findings[1]?.fix).toBeTruthy();
  });

  it('finds a state folder that is a file, that others may read, that is not there', async () => {
    expect(await look(checkState)).toMatchObject([{ state: 'ok' }]);
    chmodSync(state, 0o755);
    expect(await look(checkState)).toMatchObject([
      { state: 'warn', fix: expect.stringContaining(`chmod 700 ${state}`) },
    ]);
    rmSync(state, { recursive: true });
    expect(await look(checkState)).toMatchObject([{ state: 'warn', fix: expect.stringContaining('switchyard up') }]);
    writeFileSync(state, '');
    expect(await look(checkState)).toMatchObject([{ state: 'fail', fix: expect.stringContaining('Move it away') }]);
  });

  it('finds a disk that is full and a file system that is read-only', async (test) => {
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m,mode=700', 'tmpfs', state]).status !== 0)
      return test.skip('mounting a small tmpfs needs root');
    closing.push(() => execFileSync('umount', [state]));
    expect(await look(checkDisk)).toMatchObject([{ state: 'fail', fix: expect.stringContaining('Free some space') }]);
    execFileSync('mount', ['-o', 'remount,ro', state]);
    expect(await look(checkState)).toMatchObject([{ state: 'fail', found: expect.stringContaining('EROFS') }]);
  });

  it('finds a clock that is behind what was already written', async () => {
    const records = await openRecords({ state });
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
    await records.activity.open([
      {
        id: '01990000-0000-7000-8000-000000000000',
        deliveryKey: null,
        receivedAt: tomorrow,
        messageId: 'm',
        sourceAddress: '127.0.0.1',
        helo: 'a.test',
        tls: null,
        sender: 'a@a.test',
        recipient: 'b@b.test',
        headerFrom: null,
        headerMessageId: null,
        subject: null,
        blob: null,
        authentication: null,
        ruleId: null,
        action: null,
        outcome: 'rejected',
        errorCode: null,
        errorText: null,
        reply: null,
        attempts: 0,
        resent: false,
        workflowId: null,
        closedAt: tomorrow,
      },
    ]);
    await records.close();
    expect(await look(checkClock)).toMatchObject([
      { state: 'fail', found: expect.stringContaining(tomorrow), fix: expect.stringContaining('Set the clock') },
    ]);
  });
});

describe('records and keys', () => {
  it('finds records that are no database', async () => {
    await makeKeys('own.test');
    expect(await look(checkRecords)).toMatchObject([{ state: 'ok' }]);
    for (const end of ['-wal', '-shm']) rmSync(join(state, `records.sqlite${end}`), { force: true });
    writeFileSync(
      join(state, 'records.sqlite'),
      'this is no database, and long enough to be looked at as one'.repeat(50),
    );
    const [finding] = await look(checkRecords);
    expect(finding).toMatchObject({ state: 'fail' });
    expect(finding?.fix).toBeTruthy();
  });

  it('finds a master key that is gone, another one, and one that others may read', async () => {
    await makeKeys('own.test');
    const file = join(state, 'master.key');
    expect(await look(checkKeys)).toMatchObject([{ state: 'ok', found: expect.stringContaining('own.test') }]);
    chmodSync(file, 0o644);
    expect(await look(checkKeys)).toMatchObject([{ state: 'fail', fix: `chmod 600 ${file}` }]);
    rmSync(file);
    expect(await look(checkKeys)).toMatchObject([
      { state: 'fail', fix: expect.stringContaining('Put back master.key') },
    ]);
    expect(existsSync(file)).toBe(false);
    writeFileSync(file, `${Buffer.alloc(32, 7).toString('base64')}\n`, { mode: 0o600 });
    expect(await look(checkKeys)).toMatchObject([
      { state: 'fail', fix: expect.stringContaining('Put back the master key') },
    ]);
  });

  it('finds a declared domain without a key', async () => {
    await makeKeys('own.test');
    const mail = { domains: { 'own.test': {}, 'new.test': {} } };
    expect(await look(checkKeys, { mail })).toMatchObject([{ state: 'fail', fix: 'switchyard keys create new.test' }]);
  });
});

describe('what runs', () => {
  /** Says that an installation runs here, of which this process is the supervisor. */
  function runs(pids: RunFile['pids'], smtpPort = 9): void {
    const supervisor = identify(process.pid) as ProcessIdentity;
    const addresses = resolveAddresses(Configuration.parse({ state }), {});
    addresses.smtp = { host: '127.0.0.1', port: smtpPort };
    writeRunFile(state, {
      state,
      version: '0.0.0',
      startedAt: new Date().toISOString(),
      addresses,
      pids: { supervisor, ...pids },
    });
  }

  it('finds a process of ours that was killed', async () => {
    expect(await look(checkRunning)).toMatchObject([{ state: 'warn', fix: 'switchyard up' }]);
    const child = spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)']);
    closing.push(() => child.kill('SIGKILL'));
    runs({ worker: identify(child.pid ?? 0) as ProcessIdentity });
    expect(await look(checkRunning)).toMatchObject([{ state: 'ok' }]);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await look(checkRunning)).toMatchObject([
      { state: 'fail', found: 'worker is not alive', fix: expect.stringContaining(join(state, 'logs')) },
    ]);
  });

  it('finds a receiver that is gone, that says nothing, and a stranger on its port', async () => {
    const port = await closedPort();
    runs({}, port);
    const none = { host: '127.0.0.1', port: 0 };
    const configuration = Configuration.parse({ state });
    const smtp = await startSmtp({
      configuration,
      addresses: {
        ...resolveAddresses(configuration, {}),
        temporal: '127.0.0.1:9',
        smtp: { host: '127.0.0.1', port },
        smtpMetrics: none,
      },
      log: createLog('test', 'silent'),
    });
    const found = () => look(checkSmtp);
    expect(await found().finally(() => smtp.close())).toMatchObject([
      { state: 'ok', found: expect.stringContaining('220 switchyard.test ESMTP') },
    ]);
    expect(await found()).toMatchObject([
      { state: 'fail', found: expect.stringContaining('does not answer'), fix: expect.stringContaining('smtp.log') },
    ]);
    let greeting = '';
    const stranger = createServer((socket) => socket.on('error', () => undefined).write(greeting));
    await new Promise<void>((resolve) => stranger.listen(port, '127.0.0.1', resolve));
    closing.push(() => stranger.close());
    expect(await found()).toMatchObject([{ state: 'fail', found: expect.stringContaining('no greeting within') }]);
    greeting = 'SSH-2.0-OpenSSH_9.2\r\n';
    expect(await found()).toMatchObject([{ state: 'fail', fix: expect.stringContaining('Another server') }]);
  });
});

describe('ports and Temporal', () => {
  it('finds a configured port that is taken, and only warns of a default one', async () => {
    const { port } = await listener();
    const findings = await look(checkPorts, {
      mail: { listen: { port } },
      http: { port: await closedPort() },
      inbox: { enabled: false },
    });
    expect(findings).toMatchObject([
      {
        state: 'fail',
        found: expect.stringContaining(`127.0.0.1:${port}: it is taken`),
        fix: expect.stringContaining('mail.listen.port'),
      },
    ]);
  });

  it('finds a Temporal server that does not answer', async () => {
    const address = `127.0.0.1:${await closedPort()}`;
    expect(await look(checkTemporal, { temporal: { address } })).toMatchObject([
      { state: 'fail', found: expect.stringContaining(address), fix: expect.stringContaining('temporal.address') },
    ]);
    expect(await look(checkWorker, { temporal: { address } })).toMatchObject([{ state: 'fail' }]);
  });

  it('finds a namespace that is not there', async () => {
    const address = await sharedTemporal();
    expect(await look(checkTemporal, { temporal: { address } })).toMatchObject([{ state: 'ok' }]);
    expect(await look(checkTemporal, { temporal: { address, namespace: 'elsewhere' } })).toMatchObject([
      { state: 'fail', fix: expect.stringContaining('temporal operator namespace create elsewhere') },
    ]);
  });

  it('finds a namespace without the search attributes of the runs', async () => {
    const address = await sharedTemporal();
    const connection = await Connection.connect({ address });
    closing.push(() => connection.close());
    const namespace = `bare-${randomUUID()}`;
    const workflowExecutionRetentionPeriod = msToTs('1 day');
    await connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod });
    // A new namespace is known everywhere in the server only after a moment.
    await expect
      .poll(() => look(checkTemporal, { temporal: { address, namespace } }), { timeout: 30_000 })
      .toMatchObject([
        {
          state: 'fail',
          found: expect.stringContaining('lacks the search attributes SwitchyardSender, '),
          fix: expect.stringContaining('temporal operator search-attribute create'),
        },
      ]);
  });

  it('finds task queues that nobody polls', async () => {
    const address = await sharedTemporal();
    expect(await look(checkWorker, { temporal: { address, taskQueue: 'nobody' } })).toMatchObject([
      {
        state: 'fail',
        found: 'nobody polls nobody, nobody-mail-first, nobody-mail-retry',
        fix: expect.stringContaining('switchyard worker'),
      },
    ]);
  });
});

describe('DNS and what is published', () => {
  const HOST = 'mx.own.test';
  const mail = { domains: { 'own.test': { rules: [{ address: '*', forward: ['a@mailbox.test'] }] } } };
  const own = (server: DnsServer): ConfigurationInput => ({
    hostname: HOST,
    mail,
    dns: { servers: [server.address], timeout: '300ms' },
  });

  it('finds a resolver that does not answer', async () => {
    const servers = [`127.0.0.1:${await closedPort()}`];
    expect(await look(checkResolver, { mail, dns: { servers, timeout: '300ms' } })).toMatchObject([
      { state: 'fail', fix: expect.stringContaining('dns.servers') },
    ]);
    const silent = await names({});
    silent.fail('.', 'servfail');
    expect(await look(checkResolver, own(silent))).toMatchObject([{ state: 'fail' }]);
    silent.fail('.', null);
    expect(await look(checkResolver, own(silent))).toMatchObject([{ state: 'ok' }]);
  });

  it("finds each record that is missing, wrong or somebody else's", async () => {
    const [key] = await makeKeys('own.test');
    if (!key) throw new Error('no key was made');
    const dkim = dkimRecord(key);
    const server = await names({ [HOST]: ['A 127.0.0.1'], 'mx.other.test': ['A 127.0.0.9'] });
    const states = async () =>
      Object.fromEntries((await look(checkDomains, own(server))).map(({ name, state }) => [name.split(' ')[1], state]));
    expect(await states()).toEqual({ MX: 'fail', DKIM: 'fail', SPF: 'fail', DMARC: 'warn' });
    expect((await look(checkDomains, own(server))).map(({ fix }) => fix)).toEqual([
      `Publish: own.test. IN MX 10 ${HOST}.`,
      'Publish what this prints: switchyard keys records own.test',
      expect.stringContaining(`own.test. IN TXT "v=spf1 a:${HOST} -all"`),
      expect.stringContaining('_dmarc.own.test. IN TXT "v=DMARC1; p=none"'),
    ]);

    server.set('own.test', ['MX 10 mx.other.test', 'TXT v=spf1 a:mx.other.test -all']);
    server.set(dkim.name, ['TXT v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A']);
    expect(await states()).toEqual({ MX: 'fail', DKIM: 'fail', SPF: 'fail', DMARC: 'warn' });
    server.set('own.test', ['MX 10 mx.own.test', `TXT v=spf1 a:${HOST} -all`, 'TXT v=spf1 -all']);
    expect(await states()).toMatchObject({ MX: 'ok', SPF: 'fail' });
    expect((await look(checkDomains, own(server)))[2]).toMatchObject({ fix: 'Make one of them.' });

    server.set('own.test', [`MX 10 ${HOST}`, `TXT v=spf1 a:${HOST} -all`]);
    // Some providers put white space into long values.
    server.set(dkim.name, [`TXT ${dkim.value.replace('p=MII', 'p= MII ')}`]);
    server.set('_dmarc.own.test', ['TXT v=DMARC1; p=reject']);
    expect(await states()).toEqual({ MX: 'ok', DKIM: 'ok', SPF: 'ok', DMARC: 'ok' });

    server.fail('own.test', 'servfail');
    expect(await states()).toMatchObject({ MX: 'fail', DKIM: 'ok', SPF: 'fail' });
  });

  it('finds that mail cannot get out', async () => {
    const server = await names({ 'mailbox.test': ['MX 10 mx.mailbox.test'], 'mx.mailbox.test': ['A 127.0.0.1'] });
    const { port } = await listener();
    const closed = await closedPort();
    const outbound = { allow: ['127.0.0.1'] };
    expect(await look(checkOutbound, { ...own(server), outbound: { ...outbound, port } })).toMatchObject([
      { state: 'ok' },
    ]);
    expect(await look(checkOutbound, { ...own(server), outbound: { ...outbound, port: closed } })).toMatchObject([
      { state: 'warn', fix: expect.stringContaining('smarthost') },
    ]);
    expect(
      await look(checkOutbound, { ...own(server), outbound: { transport: { '*': '127.0.0.1:1' } } }),
    ).toMatchObject([{ state: 'ok' }]);
  });
});

describe('the TLS certificate', () => {
  const HOST = 'mx.own.test';
  const certificate = async (name: string, days: number) => {
    const made = await generate([{ name: 'commonName', value: name }], {
      keySize: 2048,
      algorithm: 'sha256',
      notBeforeDate: new Date(Date.now() - 100 * 86_400_000),
      notAfterDate: new Date(Date.now() + days * 86_400_000),
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: name }] }],
    });
    const files = { certificate: join(folder, `${name}${days}.pem`), key: join(folder, `${name}${days}.key`) };
    writeFileSync(files.certificate, made.cert);
    writeFileSync(files.key, made.private);
    return files;
  };
  const tlsFinding = async (tls: { certificate: string; key: string }) =>
    (await look(checkTls, { hostname: HOST, mail: { tls } }))[0];

  it('finds one that has expired, expires soon, is for another name, has another key, is not there', async () => {
    const good = await certificate(HOST, 60);
    expect(await tlsFinding(good)).toMatchObject({ state: 'ok' });
    expect(await tlsFinding(await certificate(HOST, -1))).toMatchObject({
      state: 'fail',
      found: expect.stringMatching(/^expired/),
      fix: expect.stringContaining('Renew'),
    });
    expect(await tlsFinding(await certificate(HOST, 5))).toMatchObject({
      state: 'warn',
      fix: expect.stringContaining('Renew'),
    });
    const other = await certificate('mx.other.test', 60);
    expect(await tlsFinding(other)).toMatchObject({ state: 'warn', found: expect.stringContaining(HOST) });
    expect(await tlsFinding({ certificate: good.certificate, key: other.key })).toMatchObject({
      state: 'fail',
      found: expect.stringContaining('is not the key'),
    });
    expect(await tlsFinding({ certificate: join(folder, 'none.pem'), key: other.key })).toMatchObject({
      state: 'fail',
      fix: expect.stringContaining('mail.tls'),
    });
  });
});

describe('the editor', () => {
  const cache = process.env.SWITCHYARD_CACHE;
  beforeEach(() => (process.env.SWITCHYARD_CACHE = join(folder, 'cache')));
  afterEach(() => {
    if (cache === undefined) delete process.env.SWITCHYARD_CACHE;
    else process.env.SWITCHYARD_CACHE = cache;
  });
  const install = () => {
    const bin = join(folder, 'cache/n8n', N8N_VERSION, 'node_modules/n8n/bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, 'n8n'), '');
  };
  const run = (editor: Endpoint | null) => {
    const configuration = Configuration.parse({ state });
    writeRunFile(state, {
      state,
      version: '0',
      startedAt: new Date().toISOString(),
      addresses: { ...resolveAddresses(configuration, {}), editor },
      pids: { supervisor: identify(process.pid) as ProcessIdentity },
    });
  };

  it('is not missed where it is switched off, or left out of this start', async () => {
    expect(await look(checkEditor, { editor: { enabled: false } })).toMatchObject([{ state: 'ok' }]);
    run(null);
    expect(await look(checkEditor)).toMatchObject([{ state: 'ok', found: expect.stringContaining('--no-editor') }]);
  });

  it('that is not installed comes with the command that does it', async () => {
    expect(await look(checkEditor)).toMatchObject([
      { state: 'warn', fix: expect.stringContaining('switchyard editor install') },
    ]);
    install();
    expect(await look(checkEditor)).toMatchObject([{ state: 'ok' }]);
  });

  it('that does not answer comes with its log', async () => {
    install();
    run({ host: '127.0.0.1', port: 1 });
    expect(await look(checkEditor)).toMatchObject([{ state: 'fail', fix: expect.stringContaining('editor.log') }]);
  });
});
