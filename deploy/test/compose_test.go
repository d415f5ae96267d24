package test

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// composed are the files of Docker Compose, each with the script that draws its secrets.
var composed = map[string]string{
	"../../docker-compose.yml":    "../compose/secrets.sh",
	"../compose/environments.yml": "../compose/environments-secrets.sh",
}

// compose reads a file with the library that Docker Compose itself reads it with: its
// schema, its variables, and services and volumes that must be there.
func compose(t *testing.T, file string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{file}, cli.WithWorkingDirectory(filepath.Dir(file)))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestCompose(t *testing.T) {
	t.Parallel()
	for file := range composed {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			checkCompose(t, compose(t, file))
		})
	}
}

func checkCompose(t *testing.T, project *types.Project) {
	ports := map[string]string{}
	for name, service := range project.Services {
		for _, port := range service.Ports {
			if other := ports[port.Published]; other != "" || port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s:%s, %s does, too", name, port.HostIP, port.Published, other)
			}
			ports[port.Published] = name
		}
		for _, mount := range service.Volumes {
			if mount.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(mount.Source); err != nil {
				t.Errorf("%s mounts what is not there: %v", name, err)
			}
		}
		for other, on := range service.DependsOn {
			if on.Condition == types.ServiceConditionHealthy && project.Services[other].HealthCheck == nil {
				t.Errorf("%s waits for the health of %s, which nobody checks", name, other)
			}
		}
		if service.Build == nil {
			continue
		}
		if !stages(t, filepath.Join(service.Build.Context, service.Build.Dockerfile))[service.Build.Target] {
			t.Errorf("%s is built by a stage that is not there: %s", name, service.Build.Target)
		}
		command := service.Command
		if command == nil {
			command = []string{"serve"} // the image's
		}
		checkSettings(t, "flaggery-"+service.Build.Target, command, slices.Collect(maps.Keys(service.Environment)))
	}
}

// TestComposeSharesNoSecrets draws the secrets and looks who finds which: a container
// has those that its settings name, and Prometheus needs none.
func TestComposeSharesNoSecrets(t *testing.T) {
	t.Parallel()
	for file, script := range composed {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			checkSecrets(t, compose(t, file), script)
		})
	}
}

func checkSecrets(t *testing.T, project *types.Project, script string) {
	shares := t.TempDir()
	output(t, "sh", script, t.TempDir(), shares)
	for name, service := range project.Services {
		settings := ""
		for _, mount := range service.Volumes {
			switch filepath.Base(mount.Source) {
			case "provisioning":
				datasources, err := os.ReadFile(filepath.Join(mount.Source, "datasources/flaggery.yml"))
				if err != nil {
					t.Fatal(err)
				}
				settings += string(datasources)
			case "environments.sh":
				text, err := os.ReadFile(mount.Source)
				if err != nil {
					t.Fatal(err)
				}
				for _, environment := range []string{"staging", "production"} {
					settings += strings.ReplaceAll(string(text), "$secrets/", "/secrets/"+environment+"/")
				}
			}
		}
		for _, value := range service.Environment {
			settings += "\n" + *value
		}
		for _, mount := range service.Volumes {
			switch own := name + "-secrets"; {
			case name == "secrets" || !strings.HasSuffix(mount.Source, "secrets"):
			case mount.Source != own || mount.Target != "/secrets" || !mount.ReadOnly:
				t.Errorf("%s mounts %s at %s", name, mount.Source, mount.Target)
			}
		}
		var given []string
		for _, pattern := range []string{"*", "*/*"} {
			files, err := fs.Glob(os.DirFS(filepath.Join(shares, name)), pattern)
			if err != nil {
				t.Fatal(err)
			}
			given = append(given, files...)
		}
		for i, file := range given {
			given[i] = "/secrets/" + file
			if !strings.Contains(settings, given[i]) {
				t.Errorf("%s finds %s and does not need it", name, given[i])
			}
		}
		for _, needed := range regexp.MustCompile(`/secrets/[a-z/-]+`).FindAllString(settings, -1) {
			if !slices.Contains(given, needed) {
				t.Errorf("%s needs %s and finds %q", name, needed, given)
			}
		}
		if _, anonymous := service.Environment["GF_AUTH_ANONYMOUS_ENABLED"]; anonymous {
			t.Errorf("%s lets everybody in", name)
		}
	}
}

func TestComposeIsScraped(t *testing.T) {
	t.Parallel()
	project := compose(t, "../../docker-compose.yml")
	scrapes, err := os.ReadFile("../compose/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"admin", "edge"} {
		address := project.Services[name].Environment["FLAGGERY_METRICS_ADDRESS"]
		if address == nil || !strings.Contains(string(scrapes), "{names: ["+name+"], type: A, port: "+strings.TrimPrefix(*address, "0.0.0.0:")+",") {
			t.Errorf("Prometheus does not scrape the metrics address of %s", name)
		}
	}
}

// stages of a Dockerfile, by name.
func stages(t *testing.T, dockerfile string) map[string]bool {
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 3 && words[0] == "FROM" {
			names[words[len(words)-1]] = true
		}
	}
	return names
}

func TestSecretsAreDrawnOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := output(t, "sh", "../compose/secrets.sh", dir, t.TempDir())
	token, password := read("admin-token"), read("grafana-password")
	if len(token) < 40 || !strings.Contains(first, token) || len(password) < 40 || !strings.Contains(first, password) {
		t.Errorf("the first start shows %q, the token is %q and the password %q", first, token, password)
	}
	again := output(t, "sh", "../compose/secrets.sh", dir, t.TempDir())
	if strings.Contains(again, token) || strings.Contains(again, password) || read("admin-token") != token || read("grafana-password") != password {
		t.Errorf("the second start shows %q", again)
	}
	for _, name := range []string{"database-url", "admin-database-url", "edge-database-url", "database-password", "admin-password", "edge-password", "dashboard-password"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() < 40 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type container struct {
	Image string
	Args  []string
	Env   []struct{ Name string }
}

// workload is of a Deployment or StatefulSet what the programs have a say in.
type workload struct {
	Kind string
	Spec struct {
		Template struct {
			Spec struct {
				InitContainers []container `yaml:"initContainers"`
				Containers     []container
			}
		}
	}
}

func TestChartKnowsTheSettings(t *testing.T) {
	t.Parallel()
	for _, file := range rendered {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		checked := 0
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			var w workload
			if err := yaml.Unmarshal([]byte(document), &w); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if w.Kind != "Deployment" && w.Kind != "StatefulSet" {
				continue
			}
			pod := w.Spec.Template.Spec
			for _, c := range append(pod.InitContainers, pod.Containers...) {
				name, _, _ := strings.Cut(path.Base(c.Image), ":")
				if !strings.HasPrefix(name, "flaggery-") {
					continue
				}
				var variables []string
				for _, v := range c.Env {
					variables = append(variables, v.Name)
				}
				checkSettings(t, name, c.Args, variables)
				checked++
			}
		}
		if checked != 3 {
			t.Errorf("%s: found %d containers, want 3", file, checked)
		}
	}
}
