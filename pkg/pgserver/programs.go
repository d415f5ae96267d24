package pgserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// places are the folders of PostgreSQL's programs in packages; of several versions
// the newest is used.
var places = []string{
	"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                   // Red Hat, from PostgreSQL's own repository
	"/opt/homebrew/opt/postgresql@*/bin", // Homebrew on ARM
	"/usr/local/opt/postgresql@*/bin",    // Homebrew on Intel
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// Programs is the folder that holds initdb, postgres and the other programs.
func Programs() (string, error) {
	if dir := os.Getenv("FLAGGERY_PG_BIN"); dir != "" {
		if !hasPrograms(dir) {
			return "", fmt.Errorf("FLAGGERY_PG_BIN is %s, which does not hold both initdb and postgres", dir)
		}
		return filepath.Abs(dir)
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		// A link in /usr/bin may lead to the folder of all programs.
		if path, err = filepath.EvalSymlinks(path); err == nil && hasPrograms(filepath.Dir(path)) {
			return filepath.Dir(path), nil
		}
	}
	for _, place := range places {
		found, _ := filepath.Glob(place) // fails for a malformed pattern only
		found = slices.DeleteFunc(found, func(dir string) bool { return !hasPrograms(dir) })
		if len(found) > 0 {
			return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
		}
	}
	return "", errors.New("PostgreSQL's programs (initdb, postgres) are not on this machine: install them " +
		"('apt-get install postgresql', 'brew install postgresql@17') or name their folder in FLAGGERY_PG_BIN")
}

func hasPrograms(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// version is the major version in a path such as /usr/lib/postgresql/15/bin.
func version(path string) int {
	digits := strings.FieldsFunc(path, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(digits[0]) // digits only, by construction
	return n
}
