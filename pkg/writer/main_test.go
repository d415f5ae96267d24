package writer

import (
	"flag"
	"os"
	"testing"
)

// Properties here are checked on a database: each check takes a tenth of a second, and
// rapid's 100 would take a minute.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	os.Exit(m.Run()) // a flag of the command line comes later
}
