{{- define "losswatch.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- /* 52 characters: Kubernetes adds up to 11 to a StatefulSet's name and allows 63. */}}
{{- define "losswatch.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- /* What never changes: selectors cannot. */}}
{{- define "losswatch.instanceLabels" -}}
app.kubernetes.io/name: {{ include "losswatch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* The component keeps the pods of the Job and of the test out of the Service. */}}
{{- define "losswatch.selectorLabels" -}}
{{ include "losswatch.instanceLabels" . }}
app.kubernetes.io/component: service
{{- end }}

{{- /* Takes (dict "root" $ "component" "topics" "more" <labels>); the chart's own labels win over commonLabels. */}}
{{- define "losswatch.labelsOf" -}}
{{- $root := .root }}
{{- $own := include "losswatch.instanceLabels" $root | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/component" .component }}
{{- $_ := set $own "app.kubernetes.io/part-of" "losswatch" }}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63) }}
{{- merge $own (.more | default dict) $root.Values.commonLabels | toYaml }}
{{- end }}

{{- define "losswatch.labels" -}}
{{ include "losswatch.labelsOf" (dict "root" . "component" "service") }}
{{- end }}

{{- define "losswatch.serviceAccountName" -}}
{{ default (ternary (include "losswatch.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "losswatch.image" -}}
{{- $tag := default (printf "%s%s" .Chart.AppVersion (ternary "-cuda" "" .Values.gpu.enabled)) .Values.image.tag }}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ $tag }}
{{- end }}
{{- end }}

{{- define "losswatch.autoscaled" -}}
{{ if ne .Values.autoscaling.type "none" }}true{{ end }}
{{- end }}

{{- define "losswatch.maxReplicas" -}}
{{- $most := int (default .Values.kafka.partitions .Values.autoscaling.maxReplicas) }}
{{- if gt $most (int .Values.kafka.partitions) }}
{{- fail (printf "autoscaling.maxReplicas is %d, but a pod without a partition has nothing to do: kafka.partitions is %d." $most (int .Values.kafka.partitions)) }}
{{- end }}
{{- if gt (int .Values.autoscaling.minReplicas) $most }}
{{- fail (printf "autoscaling.minReplicas is %d, more than autoscaling.maxReplicas (%d)." (int .Values.autoscaling.minReplicas) $most) }}
{{- end }}
{{- $most }}
{{- end }}

{{- /* What HPA and KEDA share: every pod that comes or goes makes the group share the partitions anew. */}}
{{- define "losswatch.scalingBehavior" -}}
scaleUp:
  stabilizationWindowSeconds: 60
scaleDown:
  stabilizationWindowSeconds: {{ .Values.autoscaling.scaleDownSeconds }}
  policies:
    - type: Pods
      value: 1
      periodSeconds: 120
{{- end }}
