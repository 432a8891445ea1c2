// The two log lines that a worker writes about each step, through a logger handed in.

// What this SDK needs of a pino logger, or of anything that takes an object of fields.
export interface Logger {
  info(fields: object): void;
  error(fields: object): void;
}

export interface StepLine {
  readonly requestId: string;
  readonly runId: string;
  readonly stepId: number;
  readonly stepName: string;
  readonly durationMs: number;
}

// Options for pino under which a line holds the fields below and nothing else: the level as a word, first; no time,
// process or host. Spread them into your own and leave out what you want to keep.
export const pinoStepOptions = {
  base: null,
  timestamp: false as const,
  formatters: { level: (label: string): object => ({ level: label }) },
};

function head(line: StepLine): object {
  const { requestId, runId, stepId, stepName, durationMs } = line;
  return { requestId, runId, stepId, stepName, duration: Math.round(durationMs) };
}

// {"level":"info","requestId",…,"duration","tokens","costUsd","action":"step_completed"}
export function logStepCompleted(logger: Logger, line: StepLine, used: { tokens: number; costUsd: number }): void {
  logger.info({ ...head(line), tokens: used.tokens, costUsd: used.costUsd, action: 'step_completed' });
}

// {"level":"error","requestId",…,"duration","retryCount","error","action":"step_failed"}
export function logStepFailed(logger: Logger, line: StepLine, retryCount: number, error: unknown): void {
  logger.error({ ...head(line), retryCount, error: sentence(error), action: 'step_failed' });
}

// "API_TIMEOUT: Connection timeout after 5s": the code in front, unless the message already begins with it.
function sentence(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && !error.message.startsWith(`${code}:`)
    ? `${code}: ${error.message}`
    : error.message;
}
