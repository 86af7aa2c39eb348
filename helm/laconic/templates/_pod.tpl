{{- /* What every container may do, whatever the values: the restricted Pod Security Standard and a read-only root. */ -}}
{{- define "laconic.confined" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end -}}

{{- /* The same for a pod: a list of user id and whether its volumes are given to that group. */ -}}
{{- define "laconic.unprivileged" -}}
runAsNonRoot: true
{{- with first . }}
runAsUser: {{ . | int64 }}
runAsGroup: {{ . | int64 }}
{{- if last $ }}
fsGroup: {{ . | int64 }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "laconic.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets: {{- range . }}
  - name: {{ . }}
{{- end }}
{{- end -}}
{{- end -}}

{{- /* A value as an environment variable has it: Helm reads every number as a float, and prints 2000000 as 2e+06. */ -}}
{{- define "laconic.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ toString . }}{{ end -}}
{{- end -}}

{{- /* Seconds from the end of a pod's endpoint to the end of its last request. */ -}}
{{- define "laconic.endSeconds" -}}
{{- $s := .Values.settings -}}
{{- add .Values.shutdown.preStopSeconds (ceil $s.drain_seconds) $s.grace_seconds .Values.shutdown.slackSeconds -}}
{{- end -}}

{{- define "laconic.redisUrl" -}}
{{- $r := .Values.redis -}}
{{- if eq $r.mode "bundled" -}}
redis://{{ if $r.bundled.existingSecret }}:$(REDIS_PASSWORD)@{{ end }}{{ include "laconic.fullname" . }}-redis:6379/0
{{- else -}}
{{ $r.external.url }}
{{- end -}}
{{- end -}}

{{- /* Secrets that are files, read by the service alone; whole folders, so that a changed Secret is seen. */ -}}
{{- define "laconic.files" -}}
{{- $s := .Values.secrets -}}
{{- $files := list -}}
{{- range $name, $of := dict "api-keys" $s.apiKeys "cache" $s.cache "upstream" $s.upstream "tls" $s.tls -}}
{{- if $of.existingSecret -}}
{{- $files = append $files (dict "name" $name "secret" $of.existingSecret) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.redis.mode "external") .Values.redis.external.caSecret -}}
{{- $files = append $files (dict "name" "redis-ca" "secret" .Values.redis.external.caSecret) -}}
{{- end -}}
{{- toJson (dict "files" $files) -}}
{{- end -}}
