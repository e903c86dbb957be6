/** The little XML that S3 answers with: flat, and written by a program. */

/** An object as a list has it. */
export interface Listed {
  name: string;
  size: number;
  modifiedAt: Date;
}

/** Objects of a ListBucketResult. `encoding-type=url` leaves nothing in the names that XML would change. */
export function readList(page: string): Listed[] {
  return [...page.matchAll(/<Contents>(.*?)<\/Contents>/gs)].map(([, contents = '']) => ({
    name: decodeURIComponent((element(contents, 'Key') ?? '').replaceAll('+', ' ')),
    size: Number(element(contents, 'Size')),
    modifiedAt: new Date(element(contents, 'LastModified') ?? 0),
  }));
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** Text of the first element of the name, without what is special in XML. */
export function element(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return text?.replace(/&(amp|lt|gt|quot|apos);/g, (_, entity: string) => ENTITIES[entity] ?? '');
}
