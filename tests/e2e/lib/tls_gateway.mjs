// What the tests of TLS ask a gateway for: its status, and that a change has come into force.
import { until } from './wait.mjs';

// `postern status --json`, parsed.
export async function status(gateway) {
  const { code, stdout, stderr } = await gateway.postern('status', '--json');
  if (code !== 0) throw new Error(`postern status: ${code} ${stderr}`);
  return JSON.parse(stdout);
}
export const certificateOf = async (gateway, where) => (await status(gateway)).certificates.find((entry) => entry.where === where);

export const generationOf = (gateway) => gateway.metric('postern_config_generation');
// Writes another configuration and has it read: it must be accepted. Returns what `postern reload` says changed.
export async function apply(gateway, config) {
  if (config) gateway.write(config);
  const { code, stdout, stderr } = await gateway.postern('reload');
  if (code !== 0) throw new Error(`postern reload: ${code}\n${stdout}${stderr}`);
  return stdout;
}
// Waits until something that the gateway notices by itself has made a new generation.
export async function nextGeneration(gateway, action) {
  const before = await generationOf(gateway);
  await action();
  await until('a new generation', async () => (await generationOf(gateway)) > before);
}
