// Flaggery-admin is the admin service and its tools. It stores features, rollouts,
// A/B tests, groups and subjects in PostgreSQL. See --help.
package main

import (
	"github.com/flaggery/flaggery/pkg/cli"
	"github.com/flaggery/flaggery/pkg/command"
)

// version is set by -ldflags "-X main.version=v1.2.3".
var version string

func main() { program().Main() }

func program() command.Program {
	return command.Program{
		Name:    "flaggery-admin",
		Summary: "Flaggery's admin service, which stores the configuration, tools for its database, and commands that call a running admin, which context add selects.",
		Version: version,
		Commands: append([]command.Command{
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
		}, cli.Commands()...),
	}
}
