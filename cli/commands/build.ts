/** `switchyard build`, which is `npm run build`: writes both packages to dist/. */
export const summary = 'Build both packages into dist/';

export async function run(): Promise<number> {
  const { buildPackages } = await import('../build/packages.ts');
  return buildPackages();
}
