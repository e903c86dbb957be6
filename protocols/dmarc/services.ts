/**
 * Names of sending services: who runs a host, by the name of the host, and whose service signed the mail. What no rule
 * knows is named by the domain of its host. Rules are data: to know one more service, add a line.
 */

interface ServiceRule {
  name: string;
  /** Domains of the names of its hosts (PTR, with the address again behind the name), and below them. */
  hosts?: readonly string[];
  /** Domains that only it signs with. */
  signers?: readonly string[];
}

const RULES: readonly ServiceRule[] = [
  { name: 'Google', hosts: ['google.com', 'googlemail.com'], signers: ['gappssmtp.com', '1e100.net'] },
  { name: 'Google Cloud', hosts: ['googleusercontent.com'] },
  { name: 'Microsoft 365', hosts: ['outlook.com', 'office365.com'], signers: ['onmicrosoft.com'] },
  { name: 'Amazon SES', hosts: ['amazonses.com'], signers: ['amazonses.com'] },
  { name: 'Amazon EC2', hosts: ['amazonaws.com'] },
  { name: 'SendGrid', hosts: ['sendgrid.net'], signers: ['sendgrid.net', 'sendgrid.info'] },
  { name: 'Mailchimp', hosts: ['mcsv.net', 'mcdlv.net', 'rsgsv.net'], signers: ['mcsv.net', 'mailchimpapp.net'] },
  { name: 'Mandrill', hosts: ['mandrillapp.com'], signers: ['mandrillapp.com'] },
  { name: 'Mailgun', hosts: ['mailgun.net', 'mailgun.org', 'mailgun.info'], signers: ['mailgun.org'] },
  { name: 'Postmark', hosts: ['mtasv.net', 'pmta.io'], signers: ['mtasv.net', 'pm.mtasv.net'] },
  { name: 'SparkPost', hosts: ['sparkpostmail.com', 'e.sparkpost.com'], signers: ['sparkpostmail.com'] },
  { name: 'Brevo', hosts: ['sendinblue.com', 'mailin.fr', 'sender-sib.com'], signers: ['sendinblue.com', 'mailin.fr'] },
  { name: 'Mailjet', hosts: ['mailjet.com'], signers: ['mailjet.com'] },
  { name: 'Salesforce', hosts: ['salesforce.com', 'exacttarget.com'], signers: ['salesforce.com', 'exacttarget.com'] },
  { name: 'HubSpot', hosts: ['hubspotemail.net', 'hubspot.com'], signers: ['hubspotemail.net'] },
  { name: 'Zendesk', hosts: ['zdsys.com', 'zendesk.com'], signers: ['zendesk.com'] },
  { name: 'Zoho', hosts: ['zoho.com', 'zohomail.com', 'zoho.eu', 'zcsend.net'], signers: ['zcsend.net'] },
  { name: 'Yahoo', hosts: ['yahoo.com', 'yahoodns.net', 'aol.com'] },
  { name: 'Apple iCloud', hosts: ['icloud.com', 'apple.com'] },
  { name: 'Proton Mail', hosts: ['protonmail.ch', 'proton.ch', 'proton.me'] },
  { name: 'Fastmail', hosts: ['messagingengine.com'], signers: ['messagingengine.com'] },
  { name: 'Yandex', hosts: ['yandex.net', 'yandex.ru'] },
  { name: 'Mail.ru', hosts: ['mail.ru', 'smailru.net'] },
  { name: 'GMX and WEB.DE', hosts: ['gmx.net', 'gmx.com', 'web.de'] },
  { name: 'IONOS', hosts: ['kundenserver.de', 'ionos.com', 'perfora.net', 'ui-dns.de'] },
  { name: 'Strato', hosts: ['rzone.de', 'strato.de'] },
  { name: 'OVHcloud', hosts: ['ovh.net', 'ovh.ca'] },
  { name: 'Hetzner', hosts: ['your-server.de'] },
  { name: 'GoDaddy', hosts: ['secureserver.net'], signers: ['secureserver.net'] },
  { name: 'Mimecast', hosts: ['mimecast.com', 'mimecast.co.za'] },
  { name: 'Proofpoint', hosts: ['pphosted.com', 'ppe-hosted.com'] },
  { name: 'Barracuda', hosts: ['barracudanetworks.com', 'ess.barracudanetworks.com'] },
  { name: 'Cisco Secure Email', hosts: ['iphmx.com'] },
  { name: 'Cloudflare', hosts: ['cloudflare-email.net', 'cloudflare-email.com'], signers: ['cloudflare-email.com'] },
  { name: 'Klaviyo', hosts: ['klaviyomail.com'], signers: ['klaviyomail.com'] },
  { name: 'Constant Contact', hosts: ['constantcontact.com'], signers: ['constantcontact.com', 'ccsend.com'] },
  { name: 'ActiveCampaign', hosts: ['acems1.com', 'activehosted.com'], signers: ['activehosted.com'] },
  { name: 'Intercom', hosts: ['intercom.io', 'intercom-mail.com'], signers: ['intercom-mail.com'] },
  { name: 'Atlassian', hosts: ['atlassian.net', 'atlassian.com'], signers: ['atlassian.net'] },
  { name: 'GitHub', hosts: ['github.com', 'github.net'] },
  { name: 'Shopify', hosts: ['shopify.com'], signers: ['shopifyemail.com'] },
];

const byHost = new Map(RULES.flatMap(({ name, hosts }) => (hosts ?? []).map((domain) => [domain, name])));
const bySigner = new Map(RULES.flatMap(({ name, signers }) => (signers ?? []).map((domain) => [domain, name])));

export interface ServiceFacts {
  /** Name of the host, confirmed; null where it has none. */
  host: string | null;
  /** Domains of DKIM signatures that passed. */
  signers: (string | null)[];
}

/** The most that is kept of a name that no rule gave. */
const NAME_CHARACTERS = 80;

/**
 * @returns '' where nothing names it. A host's name comes before a signature, since mail that is forwarded keeps its
 * signatures; and a passed signature is only as good as the report that says so
 */
export function serviceOf({ host, signers }: ServiceFacts): string {
  const known = host === null ? undefined : lookUp(byHost, host);
  if (known !== undefined) return known;
  for (const signer of signers) {
    const signed = signer === null ? undefined : lookUp(bySigner, signer);
    if (signed !== undefined) return signed;
  }
  return host === null ? '' : ownDomain(host).slice(0, NAME_CHARACTERS);
}

/** The name itself or the nearest one above it. */
function lookUp(names: ReadonlyMap<string, string>, name: string): string | undefined {
  for (let at = 0; ;) {
    const found = names.get(name.slice(at));
    if (found !== undefined) return found;
    at = name.indexOf('.', at) + 1;
    if (at === 0) return undefined;
  }
}

/** Second levels under which others register, under a country's top level. */
const SHARED = new Set(['ac', 'co', 'com', 'edu', 'go', 'gob', 'gov', 'ne', 'net', 'or', 'org']);

/**
 * The domain that a host's name was registered under, near enough to group by: two labels, or three where the second is
 * one of those that registries share out. Nobody is trusted by it.
 */
export function ownDomain(host: string): string {
  const labels = host.split('.');
  const [second = '', top = ''] = labels.slice(-2);
  return labels.slice(top.length === 2 && SHARED.has(second) ? -3 : -2).join('.');
}
