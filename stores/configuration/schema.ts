/**
 * The schema of `switchyard.yaml`. Every limit of the house has its name, its default and its reason here.
 * Durations are milliseconds and sizes bytes once parsed.
 */
import { z } from 'zod';
import { Duration, Size } from './units.ts';
import { MAX_REPORT_BYTES, MAX_TLS_BYTES } from '../../protocols/dmarc/limits.ts';

const Port = z.number().int().min(1).max(65535);
/** `host:port`, an IPv6 address in brackets. */
const HostAndPort = z
  .string()
  .regex(/^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$/, 'write host:port, such as 127.0.0.1:2526');

/**
 * Whether each accepted message is a run, or only what a session cannot finish by itself: a message that goes to one
 * destination is then delivered inside the session, and the destination's answer is the sender's.
 */
const Runs = z.enum(['always', 'deferred']);

/** One rule: who it is for, and what happens. `*` stands for every other address of the domain. */
export const RuleDeclaration = z
  .strictObject({
    /** Local part, or `*` for the catch-all. */
    address: z.string().min(1),
    /** One or more destinations; each gets its own delivery. */
    forward: z.array(z.string().min(3)).min(1).max(20).optional(),
    /** Accept and forget, with an activity record. */
    drop: z.literal(true).optional(),
    /** Another choice for this rule than `mail.runs`. */
    runs: Runs.optional(),
  })
  .refine((rule) => (rule.forward === undefined) !== (rule.drop === undefined), {
    message: 'a rule either forwards or drops: give `forward: [address]` or `drop: true`',
  });

const Limits = z.strictObject({
  /** RFC 1870 SIZE; what large mailbox providers and routers accept inbound. */
  messageSize: Size.default(25 * 1_048_576),
  /** RFC 5321, 4.5.3.1.8 asks for at least 100. */
  recipients: z.number().int().positive().default(100),
  /** Sessions at once in one smtp process. */
  connections: z.number().int().positive().default(500),
  /** Sessions at once from one address: one sender never takes them all. */
  connectionsPerAddress: z.number().int().positive().default(50),
  /** Refused commands and recipients before the session is closed: stops address guessing. */
  errors: z.number().int().positive().default(10),
  /** RFC 5321, 4.5.3.2.7 says five minutes; a slow sender is given one between two reads. */
  idle: Duration.default(60_000),
  /** Bytes a second of a message, on average after the first `idle`: a byte a minute would hold a session for good. */
  dataRate: Size.default(500),
  /** Commands without a message before the session is closed; recipients do not count. Senders that keep a connection open send one now and then. */
  commands: z.number().int().positive().default(100),
  /** The whole header: mailauth takes seconds of CPU beyond this (measured). */
  headerBytes: Size.default(256 * 1_024),
  headerLines: z.number().int().positive().default(1_000),
  /** One unfolded header field; 128 KB of folding costs 9 s of CPU. */
  headerFieldBytes: Size.default(32 * 1_024),
  /** One body line. RFC 5321 says 998; real senders exceed it, and 25 MiB without a newline costs 83 s of CPU. */
  bodyLineBytes: Size.default(64 * 1_024),
  /** DKIM signatures on one message; each may hash the body anew. */
  signatures: z.number().int().positive().default(10),
  /** Received fields: more is a loop (the usual default of MTAs). */
  hops: z.number().int().positive().default(100),
  /** CPU and DNS of one verification; past it the sender gets 451. */
  verification: Duration.default(10_000),
});

const Mail = z.strictObject({
  listen: z.strictObject({ host: z.string().default('127.0.0.1'), port: Port.optional() }).prefault({}),
  /** PEM files for STARTTLS; without them a self-signed certificate is made. */
  tls: z.strictObject({ certificate: z.string(), key: z.string() }).optional(),
  limits: Limits.prefault({}),
  policy: z
    .strictObject({
      /** Mail in which neither SPF nor DKIM passes. */
      unauthenticated: z.enum(['refuse', 'accept']).default('refuse'),
      /** Mail that fails DMARC under p=reject. */
      dmarcReject: z.enum(['refuse', 'accept']).default('refuse'),
    })
    .prefault({}),
  /** For messages that a rule forwards to one destination, and for bounces that come back. */
  runs: Runs.default('always'),
  /** What forwarded mail carries of ours; off where a smarthost behind us signs, or receivers know no ARC. */
  signing: z.strictObject({ dkim: z.boolean().default(true), arc: z.boolean().default(true) }).prefault({}),
  /** How long a session waits for the first delivery before it answers 250 'queued'. Senders wait 10 minutes (RFC 5321, 4.5.3.2.6). */
  sessionWait: Duration.default(20_000),
  /**
   * How long a session of the direct lane waits for the answer to its final dot, `sessionWait` or not: to give up there
   * is to send the message twice. With the waits before it, it stays below the five minutes of impatient senders.
   */
  finalDotWait: Duration.default(240_000),
  retry: z
    .strictObject({
      /** Waits between attempts; the last one repeats. */
      delays: z.array(Duration).min(1).default([60_000, 300_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000]),
      /** RFC 5321, 4.5.4.1: give up after four to five days. */
      giveUpAfter: Duration.default(5 * 86_400_000),
    })
    .prefault({}),
  /** What the step mail.send may do. */
  send: z
    .strictObject({
      /**
       * Who it may write to, besides addresses of our own domains and destinations of rules: `name@domain`, or
       * `*@domain` for all of one. A workflow with a mistake in it must not be able to write to anybody else.
       */
      to: z.array(z.string().min(3)).default([]),
    })
    .prefault({}),
  /** Days an activity record is kept. */
  keepActivity: Duration.default(31 * 86_400_000),
  /** Days an SRS address takes bounces back. */
  srsMaxAge: Duration.default(21 * 86_400_000),
  /** Mail domains of this installation. */
  domains: z.record(z.string(), z.strictObject({ rules: z.array(RuleDeclaration).default([]) })).default({}),
});

const Outbound = z.strictObject({
  /** Host names or addresses that may be private or loopback. */
  allow: z.array(z.string()).default([]),
  /**
   * `domain: host:port` overrides MX: demos, smarthosts, networks where port 25 is closed. `*` is a smarthost for all;
   * the word `inbox` is the local inbox, wherever it listens.
   */
  transport: z
    .record(z.string(), z.union([z.literal('inbox'), HostAndPort], 'write host:port, such as 127.0.0.1:2526, or inbox'))
    .default({}),
  /** The port of MX hosts. */
  port: Port.default(25),
  /** Connections at once to one destination host, so that a slow one cannot take every slot. */
  connectionsPerDestination: z.number().int().positive().default(10),
  connectTimeout: Duration.default(30_000),
  /** RFC 5321, 4.5.3.2: minutes for each stage. */
  commandTimeout: Duration.default(300_000),
  /** After the final dot: RFC 5321, 4.5.3.2.6 says ten minutes. */
  dataTimeout: Duration.default(600_000),
});

const Dns = z.strictObject({
  /** Resolvers to ask, `address` or `address:port`; empty means the system's. */
  servers: z.array(z.string()).default([]),
  timeout: Duration.default(3_000),
  /** How long an answer serves further questions, whatever its TTL: a burst from one domain asks the same again and again. */
  keep: Duration.default(5_000),
  /**
   * Names answered here and not on the network, as presentation-form records by name:
   * `{ "demo.test": ["TXT v=spf1 -all", "MX 10 mx.demo.test", "A 127.0.0.1"] }`.
   */
  zones: z.record(z.string(), z.array(z.string())).default({}),
});

const Temporal = z.strictObject({
  /** An own server; TEMPORAL_ADDRESS does the same. Without it `up` starts one. */
  address: HostAndPort.optional(),
  namespace: z.string().default('default'),
  port: Port.optional(),
  uiPort: Port.optional(),
  /** Where people see runs, when it is not the started server's own page. */
  uiUrl: z.url().optional(),
  /** Prefix of the task queues. */
  taskQueue: z.string().default('switchyard'),
});

/** An origin (RFC 6454) in its normal form. */
const Origin = z
  .url({ protocol: /^https?$/ })
  .refine(isOrigin, 'write scheme, host and port alone, such as http://127.0.0.1:5678')
  .transform((text) => new URL(text).origin);

function isOrigin(text: string): boolean {
  const url = URL.parse(text);
  return url === null || (url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '');
}

/** Registrations of n8n triggers, which Switchyard calls back. */
const Triggers = z.strictObject({
  /** Where callbacks may go; without it the editor's own address. The hosts may be private or loopback ones. */
  callbackOrigins: z.array(Origin).optional(),
  /** A registration that is not renewed within this time is asked whether it is still there. */
  lease: Duration.default(10 * 60_000),
  /** One that cannot be reached for so long is removed; what could not be handed to it is given up. */
  forgetAfter: Duration.default(7 * 86_400_000),
});

/** Reports about domains. Who takes them is no part of the file: `switchyard dmarc add DOMAIN`. */
const Dmarc = z.strictObject({
  limits: z
    .strictObject({
      /** Parts of one mail. Report mails have a text and one attachment, some a few and a signature. */
      parts: z.number().int().positive().default(100),
      /** Of an archive, which is read from its end and so must be held. */
      packedSize: Size.default(10 * 1_048_576),
      /** After unpacking; read as a stream. 300,000 records are written in about so many bytes. */
      unpackedSize: Size.refine((bytes) => bytes <= MAX_REPORT_BYTES, 'write 159MiB or less').default(128 * 1_048_576),
      /** Files in an archive. A report is one; some add a note. */
      members: z.number().int().positive().default(20),
      /** Records of one report: what other report readers take. */
      records: z.number().int().positive().default(500_000),
    })
    .prefault({}),
  /** Reports on TLS by HTTPS (RFC 8460, 5.4). The addresses are public, in the DNS: anyone may try. */
  post: z
    .strictObject({
      /** Packed or not; read into memory. What is larger unpacked is no report that is taken. */
      size: Size.default(MAX_TLS_BYTES),
      /** For the whole body. */
      wait: Duration.default(30_000),
      /** Bodies that are being read; further ones are told to come again. */
      atOnce: z.number().int().positive().default(10),
      /** In all. A reporter sends one a day and domain, and again later what was not taken (RFC 8460, 5.5). */
      perMinute: z.number().int().positive().default(120),
    })
    .prefault({}),
  /**
   * What may come to one report address in 24 hours; mail over it is told to come again later. Google and Microsoft send a
   * mail a day for each name that has a policy, 500,000 records at most.
   */
  quota: z
    .strictObject({
      /** Of one domain that vouches for its mail by DMARC, SPF or DKIM. */
      sender: z
        .strictObject({
          mails: z.number().int().positive().default(1_000),
          size: Size.default(250 * 1_048_576),
          /** Two of the largest reports, which are some 500 MB of records. */
          records: z.number().int().positive().default(1_000_000),
        })
        .prefault({}),
      /** Of all of them together: several such senders, and far more mail than all reporters send. */
      address: z
        .strictObject({
          mails: z.number().int().positive().default(10_000),
          size: Size.default(2 * 1_073_741_824),
          records: z.number().int().positive().default(5_000_000),
        })
        .prefault({}),
    })
    .prefault({}),
  /** How long what was refused is kept for a look at it. Reports themselves are kept until they are removed. */
  keepQuarantine: Duration.default(90 * 86_400_000),
  /** Names of the hosts that mail came from (PTR records). */
  names: z
    .strictObject({
      enabled: z.boolean().default(true),
      /** New addresses of one report that are asked for: a forged report must not make a flood of questions. */
      most: z.number().int().positive().default(1_000),
      /** All of them together; what has no answer by then has no name. */
      wait: Duration.default(30_000),
      /** How long an answer serves further reports. */
      keep: Duration.default(30 * 86_400_000),
    })
    .prefault({}),
  /** Where the hosts are: files in the MaxMind DB format, such as GeoLite2 or DB-IP Lite. None comes along. */
  geo: z
    .strictObject({
      /** Country. */
      country: z.string().min(1).optional(),
      /** Autonomous system: number and name. */
      network: z.string().min(1).optional(),
    })
    .prefault({}),
});

/** A secret that people expect in the file and that must not be there. */
const notHere = (variable: string) => z.never({ error: `no secret belongs in this file: set ${variable}` }).optional();

/** The records in PostgreSQL. Its password is no part of the file: SWITCHYARD_POSTGRES_PASSWORD. */
const Postgres = z.strictObject({
  /** Name, address, or the folder of a socket. */
  host: z.string().min(1).default('127.0.0.1'),
  port: Port.default(5432),
  database: z.string().min(1).default('switchyard'),
  user: z.string().min(1).default('switchyard'),
  password: notHere('SWITCHYARD_POSTGRES_PASSWORD'),
  /** Where the tables are; made when it is missing. */
  schema: z
    .string()
    .regex(/^[a-z_][a-z0-9_]{0,62}$/, 'write a plain name: lower-case letters, digits and _')
    .default('public'),
  /** Verified TLS; without a word of it, everywhere but on this machine. */
  tls: z.boolean().optional(),
  /** PEM file of the authority that signed the server's certificate, where the system does not know it. */
  ca: z.string().optional(),
  /** Connections of one process: four processes a machine on a server of 100 leave room for others. */
  connections: z.number().int().positive().max(1_000).default(10),
});

/** The blobs in a bucket of S3. Its keys are no part of the file: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY. */
const S3 = z.strictObject({
  bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'write the name of a bucket, such as switchyard-mail'),
  region: z.string().min(1).default('us-east-1'),
  accessKeyId: notHere('AWS_ACCESS_KEY_ID'),
  secretAccessKey: notHere('AWS_SECRET_ACCESS_KEY'),
  /** Of a server other than Amazon's, such as https://s3.example.net. */
  endpoint: z
    .url({ protocol: /^https?$/ })
    .refine(isOrigin, 'write scheme, host and port alone, such as https://s3.example.net')
    .transform((text) => new URL(text).origin)
    .optional(),
  /** Before every key, so that others may use the bucket too. */
  prefix: z
    .string()
    .regex(
      /^[A-Za-z0-9_-][A-Za-z0-9_.-]*(\/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$/,
      'write names parted by /, such as switchyard',
    )
    .optional(),
  /** The bucket in the path of the URL, not in its host name; without a word of it, where an endpoint is named. */
  pathStyle: z.boolean().optional(),
});

export const Configuration = z.strictObject({
  /** Our name in EHLO, Received and Authentication-Results. */
  hostname: z.string().default('switchyard.test'),
  /** The state folder, relative to the configuration file. */
  state: z.string().default('.switchyard'),
  /** Rules, activity, keys: a SQLite file in the state folder, unless a database is named. */
  records: z.strictObject({ postgres: Postgres.optional() }).prefault({}),
  /** Messages: files in the state folder, unless a bucket is named. */
  blobs: z.strictObject({ s3: S3.optional() }).prefault({}),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  http: z
    .strictObject({
      host: z.string().default('127.0.0.1'),
      port: Port.optional(),
      /** How others reach the API and the pages. */
      publicUrl: z.url().optional(),
    })
    .prefault({}),
  mail: Mail.prefault({}),
  dmarc: Dmarc.prefault({}),
  outbound: Outbound.prefault({}),
  dns: Dns.prefault({}),
  temporal: Temporal.prefault({}),
  /** The local inbox: an SMTP sink with a page, for trying things out. */
  inbox: z.strictObject({ enabled: z.boolean().default(true), port: Port.optional() }).prefault({}),
  /** The n8n editor that `up` starts. */
  editor: z
    .strictObject({
      enabled: z.boolean().default(true),
      host: z.string().default('127.0.0.1'),
      port: Port.optional(),
      /** How others reach it, and where webhooks from outside arrive. */
      publicUrl: z.url().optional(),
    })
    .prefault({}),
  triggers: Triggers.prefault({}),
  /** Long jobs, one at a time for each key. */
  jobs: z
    .strictObject({
      /** How long a job that was told to stop may clean up; then its run is ended, and the next one starts. */
      cleanUp: Duration.default(5 * 60_000),
      /** How long jobs and their logs are kept after their end. */
      keep: Duration.default(90 * 86_400_000),
    })
    .prefault({}),
  /** Ports of the worker's and SDK's metrics; the http process serves its own under /metrics. */
  metrics: z.strictObject({ workerPort: Port.optional(), smtpPort: Port.optional() }).prefault({}),
});

/** The checked configuration: durations in ms, sizes in bytes, every default filled in. */
export type Configuration = z.output<typeof Configuration>;
/** What a person writes. */
export type ConfigurationInput = z.input<typeof Configuration>;
