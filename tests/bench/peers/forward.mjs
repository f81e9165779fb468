// The mechanical job on Restate: a durable invocation for each webhook, and one PUT from it, taken note of when it is done.
// node forward.mjs PORT PEER-URL, started in the folder that the packages are installed in.
import { createRequire } from "node:module";
import { join } from "node:path";

const restate = createRequire(join(process.cwd(), "package.json"))("@restatedev/restate-sdk");
const [port, peerUrl] = process.argv.slice(2);

const forward = restate.service({
  name: "forward",
  handlers: {
    put: async (context, change) => {
      await context.run("put", async () => {
        const answer = await fetch(`${peerUrl}/put/${change.sys_id}`, {
          method: "PUT",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(change),
        });
        await answer.json();
      });
    },
  },
});

restate.serve({ services: [forward], port: Number(port) });
