{{/* Rights in the whole cluster, whichever namespaces are read. */}}
{{- define "flotilla.rules.cluster" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses/status]
  verbs: [patch]
# Which namespaces a listener lets routes come from.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
# Events of a GatewayClass are in the namespace default.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# Whose the token of a gateway's pod is.
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
{{- end }}

{{/* Rights in every namespace that is read. */}}
{{- define "flotilla.rules.namespaced" -}}
# What users ask for.
- apiGroups: [gateway.networking.k8s.io]
  resources:
    - gateways
    - listenersets
    - httproutes
    - grpcroutes
    - tlsroutes
    - tcproutes
    - udproutes
    - referencegrants
    - backendtlspolicies
  verbs: [list, watch]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [list, watch]
- apiGroups: [flotilla.dev]
  resources: [nginxfleets, endpointpickers]
  verbs: [list, watch]
# What they are told.
- apiGroups: [gateway.networking.k8s.io]
  resources:
    - gateways/status
    - listenersets/status
    - httproutes/status
    - grpcroutes/status
    - tlsroutes/status
    - tcproutes/status
    - udproutes/status
    - backendtlspolicies/status
  verbs: [patch]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools/status]
  verbs: [patch]
- apiGroups: [flotilla.dev]
  resources: [nginxfleets/status, endpointpickers/status]
  verbs: [patch]
# Where requests go.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
# Model servers: those alone of namespaces with InferencePools.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Certificates: those alone that a Gateway or a policy names, but RBAC knows no such rule.
- apiGroups: [""]
  resources: [secrets]
  verbs: [list, watch]
# What runs gateways.
- apiGroups: [""]
  resources: [serviceaccounts, configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments, daemonsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
{{- if eq (include "flotilla.runsPickers" .) "true" }}
# What runs endpoint pickers.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
# What endpoint pickers may do themselves: nobody can grant what they do not hold.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [get, list, watch]
- apiGroups: [inference.networking.x-k8s.io, llm-d.ai]
  resources: [inferenceobjectives, inferencemodelrewrites]
  verbs: [get, list, watch]
{{- end }}
{{- end }}

{{/* Whether the operator runs the endpoint pickers that EndpointPickers ask for. */}}
{{- define "flotilla.runsPickers" -}}
{{- if eq (toString .Values.inference.enabled) "auto" -}}
{{ .Capabilities.APIVersions.Has "inference.networking.k8s.io/v1" }}
{{- else -}}
{{ .Values.inference.enabled }}
{{- end -}}
{{- end }}
