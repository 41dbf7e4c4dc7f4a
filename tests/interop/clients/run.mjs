// node run.mjs SCRIPT CONFIGURATION: runs the tests of a script; prints a line of JSON for each.
import { Suite } from "./suite.mjs";

const [script, configuration] = process.argv.slice(2);
const suite = new Suite();
const { default: declare } = await import(`./${script}`);
const finish = await declare(suite.test, JSON.parse(configuration));
await suite.run((result) => process.stdout.write(JSON.stringify(result) + "\n"));
await finish?.();
process.exit(0);
