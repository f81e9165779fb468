// Node-RED without what the bench does not need: no editor, no projects, no log but of errors.
module.exports = {
  httpAdminRoot: false,
  diagnostics: { enabled: false },
  telemetry: { enabled: false },
  logging: { console: { level: "error" } },
};
