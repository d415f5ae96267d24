package command

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
)

// TestCompletion asks what a shell asks: the last of the arguments is to be completed.
func TestCompletion(t *testing.T) {
	var place, format string
	p := Program{Name: "things", Commands: []Command{
		{Name: "data show", Arguments: "THING [OTHER]", Summary: "Show.", Once: []string{"o"},
			Flags: func(fs *flag.FlagSet) {
				fs.StringVar(&place, "place", "", "`name` of a place")
				fs.StringVar(&format, "o", "", "`format`")
				fs.Bool("dry-run", false, "store nothing")
			},
			Complete: func(_ context.Context, args []string, what, _ string) []string {
				return []string{what + strings.Join(args, ",") + " of " + place, "x" + format}
			}},
		{Name: "data load", Arguments: "FILE…", Summary: "Load."},
		{Name: "data count", Arguments: "THING…", Summary: "Count.", Complete: func(context.Context, []string, string, string) []string { return []string{"a", "b"} }},
		{Name: "switch", Arguments: "on|off", Summary: "Switch."},
	}}
	const files, noFiles = ":0", ":4"
	for _, row := range []struct {
		args, want string
	}{
		{"", "completion\tPrint a script that completes commands, settings and names in a shell: source <(things completion bash)\ndata\nhelp\tHelp about any command\nswitch\tSwitch.\nversion\tPrint the version.\n" + noFiles},
		{"data|s", "show\tShow.\n" + noFiles},
		{"data|show|", "THING of\nx\n" + noFiles},
		{"data|show|--place|here|", "THING of here\nx\n" + noFiles},
		{"data|show|a|-o|json|", "OTHERa of there\nxjson\n" + noFiles},
		{"data|show|a|b|", noFiles},
		{"data|show|-o|x", "x\n" + noFiles},
		{"data|show|-o|", "-o of there\nx\n" + noFiles},
		{"data|show|--place|", "--place of there\nx\n" + noFiles},
		{"data|show|--dry-run|THING", "THING of there\n" + noFiles},
		{"data|show|--d", "--dry-run\tstore nothing\n" + noFiles},
		{"data|count|a|b|", "a\nb\n" + noFiles},
		{"data|load|", files},
		{"switch|--log-level|", "debug\ninfo\nwarn\nerror\n" + noFiles},
		{"data|show|--log-format|j", "json\n" + noFiles},
		{"switch|o", "on\noff\n" + noFiles},
		{"switch|on|", noFiles},
		{"completion|", "bash\nzsh\nfish\n" + noFiles},
	} {
		place, format = "", ""
		var out, errs strings.Builder
		variables := environment("FLAGGERY_PLACE", "there")
		if !strings.Contains(row.want, "there") {
			variables = nil
		}
		status := p.Execute(t.Context(), append([]string{"__complete"}, strings.Split(row.args, "|")...), variables, Environment{Stdout: &out, Stderr: &errs})
		if got := strings.TrimSuffix(out.String(), "\n"); status != 0 || got != row.want {
			t.Errorf("%s: status %d\n%s\nwant\n%s\nerrors: %s", row.args, status, got, row.want, errs.String())
		}
	}
}

func TestStatuses(t *testing.T) {
	for want, err := range []error{nil, fmt.Errorf("failed"), Usagef("wrong"), WithStatus(StatusDiffers, fmt.Errorf("differs")), fmt.Errorf("in another: %w", WithStatus(StatusRefused, fmt.Errorf("no")))} {
		p := Program{Name: "things", Commands: []Command{{Name: "do", Run: func(context.Context, Environment) error { return err }}}}
		var errs strings.Builder
		if status := p.Execute(t.Context(), []string{"do"}, nil, Environment{Stderr: &errs}); status != want || (err != nil) != (errs.Len() > 0) {
			t.Errorf("%v: status %d, %s", err, status, errs.String())
		}
	}
}

func TestServicesAreKnownBeforeTheyRun(t *testing.T) {
	p := Program{Name: "things", Commands: []Command{{Name: "serve", Service: true}, {Name: "data load"}}}
	for args, want := range map[string]bool{"serve": true, "serve --port 80": true, "": false, "data load serve": false, "data": false, "sevre": false, "help serve": false} {
		if got := p.isService(strings.Fields(args)); got != want {
			t.Errorf("%q: %t", args, got)
		}
	}
}
