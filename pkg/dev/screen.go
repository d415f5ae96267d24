package dev

import (
	"bytes"
	"io"
	"text/template"
)

// screen is the text that is printed at the start.
type screen struct {
	DataDir, Database string
	Admin, Edge       string // URLs
	Token             string
	Data              data
}

// data is the kind of data in the database at the start.
type data string

const (
	noData     data = "none"
	sampleData data = "sample"
	otherData  data = "other" // of an earlier start
)

var welcome = template.Must(template.New("").Parse(`
Flaggery is running. Ctrl-C stops it; the data stays in {{.DataDir}}.

  admin     {{.Admin}}   writes; try its API at {{.Admin}}/docs
  edge      {{.Edge}}   answers from memory; {{.Edge}}/docs
  database  {{.Database}}
  token     {{.Token}}

Try it in another terminal:
{{if eq .Data "none"}}
  # ten buckets, and a subject in one of them
  curl -H 'Authorization: Bearer {{.Token}}' -H 'Content-Type: application/json' -d '{"amount": 10}' {{.Admin}}/v1/buckets
  curl -H 'Authorization: Bearer {{.Token}}' -H 'Content-Type: application/json' -d '{"id": "42"}' '{{.Admin}}/v1/subjects?wait=2s'

  # what the subject gets: nothing yet, as there are no features
  curl '{{.Edge}}/v1/subject/flags?subject_id=42'
{{else if eq .Data "other"}}
  # the data is that of an earlier start; without {{.DataDir}} the next start makes sample data
  curl -H 'Authorization: Bearer {{.Token}}' {{.Admin}}/v1/features
{{else}}
  # what subject 42 gets
  curl '{{.Edge}}/v1/subject/flags?subject_id=42'

  # why it gets that
  curl -H 'Authorization: Bearer {{.Token}}' {{.Admin}}/v1/subjects/42/explain

  # the new checkout for everybody; the first line again shows it
  curl -X PATCH -H 'Authorization: Bearer {{.Token}}' -H 'Content-Type: application/json' -d '{"proportion": 1}' '{{.Admin}}/v1/features/new-checkout/rollout?wait=2s'
{{end}}
`))

// print writes the screen in one piece, as the services log at the same time.
func (s *screen) print(w io.Writer) error {
	var text bytes.Buffer
	if err := welcome.Execute(&text, s); err != nil {
		return err
	}
	_, err := w.Write(text.Bytes())
	return err
}
