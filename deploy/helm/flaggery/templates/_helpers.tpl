{{/* Templates take (dict "root" $ "component" "edge"), as the same objects exist of both programs. */}}

{{- define "flaggery.name" -}}
{{- $release := .root.Release.Name -}}
{{- if contains "flaggery" $release -}}{{ $release }}-{{ .component }}{{- else -}}{{ $release }}-flaggery-{{ .component }}{{- end -}}
{{- end }}

{{- define "flaggery.selector" -}}
app.kubernetes.io/name: flaggery-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "flaggery.labels" -}}
{{ include "flaggery.selector" . }}
app.kubernetes.io/part-of: flaggery
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "flaggery.metadata" -}}
name: {{ include "flaggery.name" . }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "flaggery.labels" . | nindent 2 }}
{{- end }}

{{- define "flaggery.secret" -}}
{{- .root.Values.secrets.existing | default (include "flaggery.name" (dict "root" .root "component" "secrets")) -}}
{{- end }}

{{- define "flaggery.cluster" -}}
{{- include "flaggery.name" (dict "root" .root "component" "db") -}}
{{- end }}

{{- define "flaggery.caSecret" -}}
{{- if .root.Values.cluster.enabled -}}{{ include "flaggery.cluster" . }}-ca{{- else -}}{{ .root.Values.database.caSecret }}{{- end -}}
{{- end }}

{{/* The database's URL for a role (as: owner, admin or edge), without its password: that of the environment is put in by Kubernetes. */}}
{{- define "flaggery.databaseURL" -}}
{{- $db := .root.Values.database -}}
{{- $host := $db.host -}}
{{- if .root.Values.cluster.enabled -}}
{{- $host = printf "%s-rw" (include "flaggery.cluster" .) -}}
{{- else if not $host -}}
{{- fail "set database.host, or cluster.enabled" -}}
{{- end -}}
{{- $user := get (dict "owner" $db.user "admin" $db.adminUser "edge" $db.edgeUser) .as -}}
postgres://{{ $user }}:$(DATABASE_PASSWORD)@{{ $host }}:{{ $db.port }}/{{ $db.name }}?sslmode={{ $db.sslmode }}
{{- if include "flaggery.caSecret" . }}&sslrootcert=/etc/flaggery/database/ca.crt{{ end -}}
{{- end }}

{{- define "flaggery.secretKey" -}}
valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
{{- end }}

{{/* What both the migration and the services need to reach the database, as one of its roles. */}}
{{- define "flaggery.databaseEnv" -}}
- name: DATABASE_PASSWORD
  {{- if ne .as "owner" }}
  {{- include "flaggery.secretKey" (dict "name" (include "flaggery.secret" .) "key" (printf "%s-password" .as)) | nindent 2 }}
  {{- else if .root.Values.cluster.enabled }}
  {{- include "flaggery.secretKey" (dict "name" (printf "%s-app" (include "flaggery.cluster" .)) "key" "password") | nindent 2 }}
  {{- else }}
  {{- include "flaggery.secretKey" (dict "name" (include "flaggery.secret" .) "key" "database-password") | nindent 2 }}
  {{- end }}
- name: FLAGGERY_DB_URL
  value: {{ include "flaggery.databaseURL" . | quote }}
{{- end }}

{{/* The parts of a container that no program differs in. */}}
{{- define "flaggery.container" -}}
{{- $image := .root.Values.image -}}
image: {{ printf "%s/flaggery-%s:%s" $image.repository .component ($image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ $image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- $ca := include "flaggery.caSecret" . }}
{{- $tls := (index .root.Values .component).tlsSecret }}
{{- if or $ca $tls (eq .component "edge") }}
volumeMounts:
  {{- if $ca }}
  - {name: database-ca, mountPath: /etc/flaggery/database, readOnly: true}
  {{- end }}
  {{- if $tls }}
  - {name: tls, mountPath: /etc/flaggery/tls, readOnly: true}
  {{- end }}
  {{- if eq .component "edge" }}
  - {name: snapshot, mountPath: /var/lib/flaggery}
  {{- end }}
{{- end }}
{{- end }}
