{{- define "losswatch.scheme" -}}
{{ ternary "https" "http" (ne .Values.http.tlsSecret "") }}
{{- end }}

{{- define "losswatch.metricsTokenKey" -}}
{{ default .Values.http.tokenKey .Values.http.metricsTokenKey }}
{{- end }}

{{- define "losswatch.httpEnv" -}}
{{- with .Values.http.tokenSecret }}
- name: LOSSWATCH_HTTP_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.http.tokenKey }}
- name: LOSSWATCH_METRICS_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ include "losswatch.metricsTokenKey" $ }}
{{- end }}
{{- end }}

{{- define "losswatch.tlsEnv" -}}
{{- if .Values.http.tlsSecret }}
- name: LOSSWATCH_HTTP_TLS_CERT
  value: /etc/losswatch/http/tls.crt
- name: LOSSWATCH_HTTP_TLS_KEY
  value: /etc/losswatch/http/tls.key
{{- end }}
{{- end }}

{{- define "losswatch.probe" -}}
{{- $ask := dict "path" .path "port" "http" "scheme" (include "losswatch.scheme" .root | upper) }}
{{- merge (dict "httpGet" $ask) .timing | toYaml }}
{{- end }}

{{- /* What Prometheus needs for the scrape; monitor.endpoint wins. */}}
{{- define "losswatch.endpoint" -}}
{{- $name := include "losswatch.fullname" . }}
{{- $endpoint := dict }}
{{- with .Values.http.tokenSecret }}
{{- $_ := set $endpoint "authorization" (dict "credentials" (dict "name" . "key" (include "losswatch.metricsTokenKey" $))) }}
{{- end }}
{{- with .Values.http.tlsSecret }}
{{- $ca := dict "secret" (dict "name" . "key" "ca.crt") }}
{{- $_ := set $endpoint "scheme" "https" }}
{{- $_ := set $endpoint "tlsConfig" (dict "ca" $ca "serverName" (printf "%s.%s.svc" $name $.Release.Namespace)) }}
{{- end }}
{{- mergeOverwrite $endpoint (deepCopy .Values.monitor.endpoint) | toYaml }}
{{- end }}
