/** Path of npm's own command line script. Throws with the way out when there is no npm. */
export function findNpm(): string;
/**
 * Runs npm with this Node, with this Node first on the PATH of install scripts.
 * Rejects with npm's last error line.
 */
export function runNpm(options: {
  npm: string;
  args: string[];
  cwd: string;
  onLine?: (line: string) => void;
  /** Ends npm. */
  signal?: AbortSignal | undefined;
}): Promise<void>;
