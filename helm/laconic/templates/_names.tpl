{{- define "laconic.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* Short enough for the longest suffix, so that no name is over 63 characters. */ -}}
{{- define "laconic.fullname" -}}
{{- $name := include "laconic.name" . -}}
{{- $made := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $made .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- /* What selects the pods of one part: a list of root and part. */ -}}
{{- define "laconic.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ include "laconic.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{- define "laconic.labels" -}}
{{- $root := first . -}}
{{ include "laconic.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "laconic.serviceAccount" -}}
{{- $made := ternary (include "laconic.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $made -}}
{{- end -}}

{{- define "laconic.image" -}}
{{- $made := printf "%s%s" .Chart.AppVersion (ternary "-gpu" "" .Values.gpu.enabled) -}}
{{- .Values.image.repository }}:{{ .Values.image.tag | default $made }}
{{- with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{- define "laconic.scheme" -}}
{{- ternary "https" "http" (not (empty .Values.secrets.tls.existingSecret)) -}}
{{- end -}}
