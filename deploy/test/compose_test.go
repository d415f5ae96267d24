package test

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// compose is of docker-compose.yml what can be checked without Docker.
type compose struct {
	Services map[string]struct {
		Build       *struct{ Context, Dockerfile, Target string }
		Command     []string
		Environment map[string]string
		Volumes     []string
		Healthcheck *struct{ Test []string }
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	}
	Volumes map[string]any
}

func TestCompose(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	for name, service := range c.Services {
		for _, mount := range service.Volumes {
			source, _, _ := strings.Cut(mount, ":")
			if strings.HasPrefix(source, ".") {
				if _, err := os.Stat(filepath.Join("../..", source)); err != nil {
					t.Errorf("%s mounts what is not there: %v", name, err)
				}
			} else if _, known := c.Volumes[source]; !known {
				t.Errorf("%s mounts a volume that nobody declares: %s", name, source)
			}
		}
		for other, on := range service.DependsOn {
			target, known := c.Services[other]
			if !known {
				t.Errorf("%s waits for %s, which is not there", name, other)
			}
			if on.Condition == "service_healthy" && target.Healthcheck == nil {
				t.Errorf("%s waits for the health of %s, which nobody checks", name, other)
			}
		}
		if service.Build == nil {
			continue
		}
		if !stages(t, filepath.Join("../..", service.Build.Dockerfile))[service.Build.Target] {
			t.Errorf("%s is built by a stage that is not there: %s", name, service.Build.Target)
		}
		command := service.Command
		if command == nil {
			command = []string{"serve"} // the image's
		}
		checkSettings(t, "flaggery-"+service.Build.Target, command, slices.Collect(maps.Keys(service.Environment)))
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
	first := output(t, "sh", "../compose/secrets.sh", dir)
	token, err := os.ReadFile(filepath.Join(dir, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	if len(token) < 40 || !strings.Contains(first, string(token)) {
		t.Errorf("the first start shows %q, and the token is %q", first, token)
	}
	again := output(t, "sh", "../compose/secrets.sh", dir)
	kept, err := os.ReadFile(filepath.Join(dir, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(again, string(token)) || string(kept) != string(token) {
		t.Errorf("the second start shows %q, and the token became %q", again, kept)
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

// workload is of a Deployment what the programs have a say in.
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
			if w.Kind != "Deployment" {
				continue
			}
			pod := w.Spec.Template.Spec
			for _, c := range append(pod.InitContainers, pod.Containers...) {
				name, _, _ := strings.Cut(path.Base(c.Image), ":")
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
