"""Every model under the name it has in the published SDK, where many names are numbered.

Names that are ours alone are not here: take those from `gpuyard.vendors.novita.wire`.
"""

from __future__ import annotations

from gpuyard.vendors.novita.wire import endpoints as _endpoints
from gpuyard.vendors.novita.wire import images as _images
from gpuyard.vendors.novita.wire import instances as _instances
from gpuyard.vendors.novita.wire import networks as _networks
from gpuyard.vendors.novita.wire.catalogue import (  # noqa: F401 - this whole module is for others
    BillingMode,
    Cluster,
    CPUProduct,
    GPUProduct,
    InventoryState,
    ListCPUProductsResponse,
    ListGPUProductsResponse,
    SubscriptionPrice,
)
from gpuyard.vendors.novita.wire.endpoints import (  # noqa: F401
    CreateEndpointRequest,
    Endpoint,
    EndpointDetail,
    Image,
    ListEndpointsResponse,
    Policy,
    Product,
    UpdateEndpointRequest,
    Worker,
    WorkerConfig,
)
from gpuyard.vendors.novita.wire.images import (  # noqa: F401
    Channel,
    CreateImagePrewarmRequest,
    CreateImagePrewarmResponse,
    CreateRepositoryAuthRequest,
    CreateTemplateRequest,
    CreateTemplateResponse,
    GetTemplateResponse,
    ImagePrewarmProduct,
    ImagePrewarmTask,
    JobModel,
    ListImagePrewarmTasksResponse,
    ListJobsResponse,
    ListRepositoryAuthsResponse,
    ListTemplatesResponse,
    RepositoryAuth,
    Template,
    TemplateCreatePayload,
    TemplateEnvironmentVariable,
    TemplatePort,
    TemplateTool,
    TemplateVolume,
    UpdateImagePrewarmRequest,
)
from gpuyard.vendors.novita.wire.instances import (  # noqa: F401
    ConnectComponentJupyter,
    ConnectComponentLog,
    ConnectComponentSsh,
    ConnectComponentWebTerminal,
    CreateInstanceRequest,
    CreateInstanceResponse,
    EditInstanceRequest,
    Env,
    InstanceInfo,
    Kind,
    ListInstancesResponse,
    Network,
    NetworkStorage,
    NetworkVolume,
    Node,
    Port,
    PortMapping,
    SaveImageRequest,
    SpotStatus,
    Status,
    StatusError,
    Tool,
    UpgradeInstanceRequest,
    VolumeMount,
)
from gpuyard.vendors.novita.wire.networks import (  # noqa: F401
    Address,
    CreateNetworkRequest,
    CreateNetworkStorageRequest,
    ListNetworksResponse,
    ListNetworkStoragesResponse,
    NetworkModel,
    NetworkStorageModel,
    UpdateNetworkRequest,
    UpdateNetworkStorageRequest,
)

# ── Enums: one there for every place they occur in ──────────────────────────────────────────────────────────────────

BillingMode1 = BillingMode
Type = Type9 = Type10 = _instances.PortType
Type1 = Type3 = Type5 = Type7 = _instances.VolumeType
Type2 = Type4 = Type6 = _endpoints.PolicyType
Type8 = _images.JobType
State2 = _images.PrewarmState
State4 = _networks.NetworkStatus

# ── Parts of answers ────────────────────────────────────────────────────────────────────────────────────────────────

State = _endpoints.EndpointState
State1 = _images.JobStatus
State3 = _networks.NetworkState
Env2 = Env3 = Env6 = _instances.EnvSetting
Healthy = _endpoints.HealthCheck
Job = _instances.RunningJob
Port1 = _endpoints.Port
VolumeMount1 = _instances.InstanceVolume
VolumeMount2 = _endpoints.EndpointVolume

# ── Parts of endpoint requests: one there for creating, one for updating ────────────────────────────────────────────

Env4 = Env
Healthy1 = HealthyItem = _endpoints.HealthCheckRequest
Image1 = ImageItem = _endpoints.ImageRequest
Policy1 = PolicyItem = _endpoints.PolicyRequest
Ports = Port2 = _endpoints.EndpointPort
Product1 = _endpoints.ProductRequest
VolumeMount3 = VolumeMount4 = _endpoints.VolumeMountRequest
WorkerConfig1 = WorkerConfigItem = _endpoints.WorkerConfigRequest
