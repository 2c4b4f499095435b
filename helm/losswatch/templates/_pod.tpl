{{- /* What the pods of the service, of the Job and of the test have in common. Kubernetes would announce a Service
       called losswatch-http as LOSSWATCH_HTTP_PORT=tcp://..., which is a setting: no service links. */}}
{{- define "losswatch.podBasics" -}}
automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
enableServiceLinks: false
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "losswatch.containerBasics" -}}
image: {{ include "losswatch.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
{{- end }}

{{- /* Pods of the Job and of the test may land anywhere the service may; they need no GPU. */}}
{{- define "losswatch.helperPlacement" -}}
{{- range $field := list "nodeSelector" "tolerations" }}
{{- with index $.Values $field }}
{{ $field }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "losswatch.settingsEnv" -}}
{{- range $name, $value := .Values.settings }}
{{- if not (kindIs "invalid" $value) }}
- name: LOSSWATCH_{{ upper $name }}
  value: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "losswatch.spread" -}}
{{- $selector := dict "matchLabels" (include "losswatch.selectorLabels" . | fromYaml) }}
{{- range .Values.topologySpreadConstraints }}
- {{ set (deepCopy .) "labelSelector" (.labelSelector | default $selector) | toYaml | indent 2 | trim }}
{{- end }}
{{- end }}

{{- define "losswatch.podTemplate" -}}
metadata:
  labels: {{- include "losswatch.labelsOf" (dict "root" . "component" "service" "more" (deepCopy .Values.podLabels)) | nindent 4 }}
  {{- with .Values.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "losswatch.serviceAccountName" . }}
  {{- include "losswatch.podBasics" . | trim | nindent 2 }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if and .Values.gpu.enabled .Values.gpu.runtimeClassName }}
  runtimeClassName: {{ .Values.gpu.runtimeClassName }}
  {{- end }}
  {{- $nodes := .Values.nodeSelector }}
  {{- $tolerations := .Values.tolerations }}
  {{- if .Values.gpu.enabled }}
  {{- $nodes = merge (deepCopy .Values.gpu.nodeSelector) $nodes }}
  {{- $tolerations = concat $tolerations .Values.gpu.tolerations }}
  {{- end }}
  {{- with $nodes }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "losswatch.spread" . | trim }}
  topologySpreadConstraints: {{- . | nindent 4 }}
  {{- end }}
  containers:
    - name: losswatch
      {{- include "losswatch.containerBasics" . | nindent 6 }}
      command: [losswatch, serve]
      env: {{- include "losswatch.serviceEnv" . | trim | nindent 8 }}
      {{- with .Values.extraEnvFrom }}
      envFrom: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: 9108
          protocol: TCP
      startupProbe: {{- include "losswatch.probe" (dict "root" $ "path" "/healthz" "timing" .Values.startupProbe) | nindent 8 }}
      livenessProbe: {{- include "losswatch.probe" (dict "root" $ "path" "/healthz" "timing" .Values.livenessProbe) | nindent 8 }}
      readinessProbe: {{- include "losswatch.probe" (dict "root" $ "path" "/readyz" "timing" .Values.readinessProbe) | nindent 8 }}
      resources: {{- include "losswatch.resources" . | trim | nindent 8 }}
      volumeMounts:
        {{- include "losswatch.kafkaVolumeMounts" . | trim | nindent 8 }}
        {{- if .Values.http.tlsSecret }}
        - name: http-tls
          mountPath: /etc/losswatch/http
          readOnly: true
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "losswatch.kafkaVolumes" . | trim | nindent 4 }}
    {{- with .Values.http.tlsSecret }}
    - name: http-tls
      secret:
        secretName: {{ . }}
        defaultMode: 0440
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "losswatch.serviceEnv" -}}
- name: HOME
  value: /tmp
{{- if dig "requests" "cpu" "" (.Values.resources | default dict) }}
- name: OMP_NUM_THREADS
  valueFrom:
    resourceFieldRef:
      containerName: losswatch
      resource: requests.cpu
      divisor: "1"
{{- end }}
{{ include "losswatch.kafkaEnv" . | trim }}
- name: LOSSWATCH_GROUP
  value: {{ .Values.kafka.group | quote }}
- name: LOSSWATCH_HTTP_PORT
  value: "9108"
- name: LOSSWATCH_DEVICE
  value: {{ ternary "cuda" "cpu" .Values.gpu.enabled }}
{{- include "losswatch.httpEnv" . }}
{{- include "losswatch.tlsEnv" . }}
{{- include "losswatch.settingsEnv" . }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "losswatch.resources" -}}
{{- $resources := deepCopy (.Values.resources | default dict) }}
{{- if .Values.gpu.enabled }}
{{- $limits := merge (dict .Values.gpu.resource .Values.gpu.count) (get $resources "limits" | default dict) }}
{{- $_ := set $resources "limits" $limits }}
{{- end }}
{{- toYaml $resources }}
{{- end }}
