/** The environment that n8n runs in: where it listens, what it keeps to itself, and nothing of the person's own n8n. */
import { join } from 'node:path';
import { localUrl, type Endpoint } from '../../stores/configuration/addresses.ts';
import type { SecretFiles } from './secrets.ts';
import { OWNER_EMAIL } from './secrets.ts';

export interface EditorEnvironment {
  /** n8n's user folder. */
  folder: string;
  listen: Endpoint;
  /** Where n8n's own task runner reaches it. */
  brokerPort: number;
  /** How others reach it. */
  publicUrl?: string | undefined;
  secrets: SecretFiles;
  /** The environment to take paths, locale and proxies from. */
  from: NodeJS.ProcessEnv;
}

/** n8n lets what runs end within this, then it ends itself. */
export const EDITOR_GRACE_MS = 15_000;
/** Of the JavaScript heap in MB: n8n was seen with up to 755 MB of memory in all; one that grows past this has a leak. */
export const EDITOR_HEAP_MB = 1_536;
const RUNNER_HEAP_MB = 512;

/** All that n8n gets of the person's environment: N8N_ variables of another n8n would lead this one to its data. */
const KEPT =
  /^(PATH|HOME|USER|LANG|LC_\w+|TZ|TMPDIR|SSL_CERT_FILE|SSL_CERT_DIR|NODE_EXTRA_CA_CERTS|(https?|no|all)_proxy)$/i;

export function editorEnvironment(options: EditorEnvironment): NodeJS.ProcessEnv {
  const { folder, listen, brokerPort, secrets, from } = options;
  const url = `${(options.publicUrl ?? localUrl(listen)).replace(/\/$/, '')}/`;
  return {
    ...Object.fromEntries(Object.entries(from).filter(([name]) => KEPT.test(name))),
    NODE_ENV: 'production',
    NO_COLOR: '1',
    GENERIC_TIMEZONE: from.TZ || Intl.DateTimeFormat().resolvedOptions().timeZone,

    N8N_USER_FOLDER: folder,
    DB_TYPE: 'sqlite',
    N8N_LISTEN_ADDRESS: listen.host,
    N8N_PORT: String(listen.port),
    N8N_EDITOR_BASE_URL: url,
    N8N_WEBHOOK_URL: url,
    N8N_SECURE_COOKIE: String(url.startsWith('https:')),
    // Behind a public URL stands one proxy.
    N8N_PROXY_HOPS: options.publicUrl ? '1' : '0',

    N8N_ENCRYPTION_KEY_FILE: secrets.encryptionKey,
    N8N_INSTANCE_OWNER_MANAGED_BY_ENV: 'true',
    N8N_INSTANCE_OWNER_EMAIL: OWNER_EMAIL,
    N8N_INSTANCE_OWNER_FIRST_NAME: 'Switchyard',
    N8N_INSTANCE_OWNER_LAST_NAME: 'Owner',
    N8N_INSTANCE_OWNER_PASSWORD_HASH_FILE: secrets.passwordHash,

    // Nothing is told to anybody, and nothing asked for that no person asked for.
    N8N_DIAGNOSTICS_ENABLED: 'false',
    N8N_VERSION_NOTIFICATIONS_ENABLED: 'false',
    N8N_VERSION_NOTIFICATIONS_WHATS_NEW_ENABLED: 'false',
    N8N_DYNAMIC_BANNERS_ENABLED: 'false',
    N8N_TEMPLATES_ENABLED: 'false',
    N8N_PERSONALIZATION_ENABLED: 'false',
    N8N_HIRING_BANNER_ENABLED: 'false',
    N8N_LICENSE_AUTO_RENEW_ENABLED: 'false',
    N8N_VERIFIED_PACKAGES_ENABLED: 'false',
    N8N_DISABLED_MODULES: 'mcp-registry',

    // The pack lies in n8n's folder of community packages.
    N8N_COMMUNITY_PACKAGES_ENABLED: 'true',
    N8N_REINSTALL_MISSING_PACKAGES: 'false',
    N8N_UNVERIFIED_PACKAGES_ENABLED: 'true',

    // A workflow sees neither this environment nor files beside those that it is given.
    N8N_BLOCK_ENV_ACCESS_IN_NODE: 'true',
    N8N_BLOCK_FILE_ACCESS_TO_N8N_FILES: 'true',
    N8N_RESTRICT_FILE_ACCESS_TO: join(folder, 'files'),
    N8N_ENFORCE_SETTINGS_FILE_PERMISSIONS: 'true',
    N8N_RUNNERS_MODE: 'internal',
    N8N_RUNNERS_BROKER_LISTEN_ADDRESS: '127.0.0.1',
    N8N_RUNNERS_BROKER_PORT: String(brokerPort),
    N8N_RUNNERS_MAX_OLD_SPACE_SIZE: String(RUNNER_HEAP_MB),
    N8N_RUNNERS_TASK_TIMEOUT: '300',
    N8N_PYTHON_ENABLED: 'false',
    N8N_COMPRESSION_NODE_MAX_DECOMPRESSED_SIZE_BYTES: String(256 * 1_048_576),
    N8N_COMPRESSION_NODE_MAX_ZIP_ENTRIES: '1000',

    // Two weeks or ten thousand executions, whichever is less.
    EXECUTIONS_DATA_PRUNE: 'true',
    EXECUTIONS_DATA_MAX_AGE: '336',
    EXECUTIONS_DATA_PRUNE_MAX_COUNT: '10000',

    N8N_LOG_LEVEL: 'info',
    N8N_LOG_OUTPUT: 'console',
    N8N_GRACEFUL_SHUTDOWN_TIMEOUT: String(EDITOR_GRACE_MS / 1_000),
  };
}
