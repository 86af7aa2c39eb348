{{- /* What the schema cannot say: values that contradict each other are refused before anything is made. */ -}}
{{- define "laconic.check" -}}
{{- $v := .Values -}}
{{- $k := $v.autoscaling.keda -}}
{{- range $name, $url := dict "settings.upstream_url" $v.settings.upstream_url "otlp.endpoint" $v.otlp.endpoint "redis.external.url" $v.redis.external.url "models.download.url" $v.models.download.url "autoscaling.keda.prometheus" $k.prometheus -}}
{{- /* Not the schema's to say: it would repeat the value. An @ is a path's own only where the scheme is HTTP. */ -}}
{{- if regexMatch "^(redis.*|https?://[^/?#]*)@|[?&]password=" (default "" $url) -}}
{{- fail (printf "%s holds a password: it would be readable in the manifests; put it into a Secret" $name) -}}
{{- end -}}
{{- end -}}
{{- $need := include "laconic.endSeconds" . | int -}}
{{- with $v.shutdown.terminationGracePeriodSeconds -}}
{{- if lt (int .) $need -}}
{{- fail (printf "shutdown.terminationGracePeriodSeconds is %d: requests would be killed, %d are needed (preStop, drain_seconds, grace_seconds and slack)" (int .) $need) -}}
{{- end -}}
{{- end -}}
{{- if eq (int $v.listen.port) (int $v.listen.metricsPort) -}}
{{- fail "listen.port and listen.metricsPort are the same" -}}
{{- end -}}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and (eq $v.autoscaling.kind "keda") (not $k.prometheus) -}}
{{- fail "autoscaling.kind is keda: autoscaling.keda.prometheus must be the address of a Prometheus" -}}
{{- end -}}
{{- if and (eq $v.redis.mode "external") (eq (empty $v.redis.external.url) (empty $v.redis.external.existingSecret)) -}}
{{- fail "redis.mode is external: give redis.external.url, or redis.external.existingSecret if it holds a password" -}}
{{- end -}}
{{- if and (eq $v.redis.mode "bundled") (not $v.redis.bundled.existingSecret) (not $v.networkPolicy.enabled) -}}
{{- fail "redis.mode is bundled: without redis.bundled.existingSecret only the network policy keeps others out; leave networkPolicy.enabled" -}}
{{- end -}}
{{- if and (ne $v.redis.mode "none") (not $v.secrets.cache.existingSecret) -}}
{{- fail (printf "redis.mode is %s: secrets.cache.existingSecret must name a Secret that seals what is in Redis, else who can write there changes answers; openssl rand -hex 32 makes its %s" $v.redis.mode $v.secrets.cache.key) -}}
{{- end -}}
{{- if and (eq $v.models.source "claim") (not $v.models.claim.name) -}}
{{- fail "models.source is claim: models.claim.name must be a PersistentVolumeClaim" -}}
{{- end -}}
{{- if and (eq $v.models.source "download") (or (not $v.models.download.url) (not $v.models.download.sha256)) -}}
{{- fail "models.source is download: models.download.url and models.download.sha256 must be given" -}}
{{- end -}}
{{- if and $v.secrets.upstream.existingSecret (not $v.settings.upstream_url) -}}
{{- fail "secrets.upstream is the key of an upstream: settings.upstream_url must be given" -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled: httpRoute.parentRefs must name a Gateway" -}}
{{- end -}}
{{- end -}}
