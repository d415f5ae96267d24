// Flaggery-admin is the admin service and its tools: it keeps features, rollouts,
// tests, groups and subjects in PostgreSQL. See --help.
package main

import "github.com/flaggery/flaggery/pkg/command"

// version is set by -ldflags "-X main.version=v1.2.3".
var version string

func main() { program().Main() }

func program() command.Program {
	return command.Program{
		Name:    "flaggery-admin",
		Summary: "Flaggery's admin service: the one that writes.",
		Version: version,
		Commands: []command.Command{
			devCommand(),
			serveCommand(),
			migrateUpCommand(),
			migrateDownCommand(),
			migrateStatusCommand(),
			tokenCreateCommand(),
			tokenListCommand(),
			tokenRevokeCommand(),
			importCommand(),
			exportCommand(),
			forgetCommand(),
		},
	}
}
