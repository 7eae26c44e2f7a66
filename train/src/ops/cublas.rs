//! Matrix products by cublasLt: one handle and one workspace for a device, and for every kind of product the
//! algorithm that the library chose on the first call.
#![allow(unsafe_code, reason = "cublasLt's interface is C")]

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::mem::size_of;
use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::cuda_backend::cudarc::cublaslt::result::{self, CublasError};
use candle_core::cuda_backend::cudarc::cublaslt::sys;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr as _};
use candle_core::cuda_backend::{CudaDevice, DeviceId, WrapErr as _};
use candle_core::{DType, Result, bail};

use super::product::{Numbers, Operand, Product, Sizes};

/// What the library did, or its reason for not doing it.
type Done<T> = std::result::Result<T, CublasError>;

/// Bytes that an algorithm may use beside its matrices: what NVIDIA advises for Hopper.
const WORKSPACE: usize = 32 << 20;

/// Asks the device's stream for a product of buffers at these addresses. False where the library has no
/// algorithm for it.
pub(super) fn multiply(product: &Product, addresses: &[u64], device: &CudaDevice) -> Result<bool> {
    static LIBRARIES: OnceLock<Mutex<HashMap<DeviceId, Library>>> = OnceLock::new();
    let libraries = LIBRARIES.get_or_init(Mutex::default);
    let mut libraries = libraries.lock().unwrap_or_else(PoisonError::into_inner);
    let library = match libraries.entry(device.id()) {
        Entry::Occupied(held) => held.into_mut(),
        Entry::Vacant(place) => place.insert(Library::open(device)?),
    };
    match library.multiply(product, addresses) {
        Ok(()) => Ok(true),
        Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED)) => Ok(false),
        Err(error) => bail!("cublasLt does not make the product {product:?}: {error}"),
    }
}

struct Library {
    device: CudaDevice,
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    plans: HashMap<Kind, Plan>,
}

// SAFETY: handles and descriptors belong to no thread; a mutex lets one thread at a time use them.
unsafe impl Send for Library {}

impl Library {
    fn open(device: &CudaDevice) -> Result<Self> {
        device.cuda_stream().context().bind_to_thread().w()?;
        let handle = match result::create_handle() {
            Ok(handle) => handle,
            Err(error) => bail!("cublasLt does not start: {error}"),
        };
        Ok(Self {
            device: device.clone(),
            handle,
            // SAFETY: algorithms write it before they read it.
            workspace: unsafe { device.alloc(WORKSPACE)? },
            plans: HashMap::new(),
        })
    }

    fn multiply(&mut self, product: &Product, addresses: &[u64]) -> Done<()> {
        let [a, b, d] =
            [product.a.buffer, product.b.buffer, product.d].map(|buffer| addresses[buffer.0]);
        let bias = product.bias.map(|buffer| addresses[buffer.0]);
        let plan = match self.plans.entry(Kind::of(product, [a, b, d], bias)) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(place) => {
                let plan = Plan::new(self.handle, place.key(), bias)?;
                place.insert(plan)
            }
        };
        let stream = self.device.cuda_stream();
        let (one, zero) = (1.0_f32, 0.0_f32);
        // SAFETY: the plan's layouts are those of buffers that live until the stream has done what is
        // asked of it here; factors are read from the host before the call returns.
        unsafe {
            plan.product.set_bias(bias)?;
            result::matmul(
                self.handle,
                plan.product.0,
                (&raw const one).cast(),
                (&raw const zero).cast(),
                a as *const c_void,
                plan.a.0,
                b as *const c_void,
                plan.b.0,
                d as *const c_void,
                plan.d.0,
                d as *mut c_void,
                plan.d.0,
                &raw const plan.algorithm,
                self.workspace.device_ptr(&stream).0 as *mut c_void,
                WORKSPACE,
                stream.cu_stream().cast(),
            )
        }
    }
}

/// What an algorithm is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    sizes: Sizes,
    numbers: Numbers,
    a: Factor,
    b: Factor,
    d_alignment: u32,
    bias: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Factor {
    leading: usize,
    transposed: bool,
    alignment: u32,
}

impl Kind {
    fn of(product: &Product, [a, b, d]: [u64; 3], bias: Option<u64>) -> Self {
        let factor = |operand: &Operand, address: u64| Factor {
            leading: operand.leading,
            transposed: operand.transposed,
            alignment: alignment(address),
        };
        Self {
            sizes: product.sizes,
            numbers: product.numbers,
            a: factor(&product.a, a),
            b: factor(&product.b, b),
            // The library has no word for the bias's own.
            d_alignment: alignment(d).min(bias.map_or(256, alignment)),
            bias: bias.is_some(),
        }
    }
}

/// The largest power of two, up to 256, that divides an address.
fn alignment(address: u64) -> u32 {
    1 << address.trailing_zeros().min(8)
}

/// A product as the library describes it, and how it makes it.
struct Plan {
    product: Description,
    a: Layout,
    b: Layout,
    d: Layout,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Plan {
    fn new(handle: sys::cublasLtHandle_t, kind: &Kind, bias: Option<u64>) -> Done<Self> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Wish;
        let Sizes { m, n, k } = kind.sizes;
        let product = Description::new(kind)?;
        product.set_bias(bias)?;
        let a = Layout::factor(kind.numbers.factors, (m, k), kind.a)?;
        let b = Layout::factor(kind.numbers.factors, (k, n), kind.b)?;
        let d = Layout::new(kind.numbers.result, (m, n), m)?;
        let wishes = Wishes(result::create_matmul_pref()?);
        // SAFETY: all descriptors live, and the attributes have the types that the library wants.
        let found = unsafe {
            wishes.set(Wish::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE)?;
            for (wish, alignment) in [
                (
                    Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                    kind.a.alignment,
                ),
                (
                    Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                    kind.b.alignment,
                ),
                (
                    Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                    kind.d_alignment,
                ),
                (
                    Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
                    kind.d_alignment,
                ),
            ] {
                wishes.set(wish, &alignment)?;
            }
            result::get_matmul_algo_heuristic(handle, product.0, a.0, b.0, d.0, d.0, wishes.0)?
        };
        Ok(Self {
            product,
            a,
            b,
            d,
            algorithm: found.algo,
        })
    }
}

fn number_type(dtype: DType) -> sys::cudaDataType {
    match dtype {
        DType::BF16 => sys::cudaDataType::CUDA_R_16BF,
        _ => sys::cudaDataType::CUDA_R_32F,
    }
}

/// Transposes, epilogue and numbers of a product.
struct Description(sys::cublasLtMatmulDesc_t);

impl Description {
    fn new(kind: &Kind) -> Done<Self> {
        use sys::cublasComputeType_t::{CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32};
        use sys::cublasLtEpilogue_t::{CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_DEFAULT};
        use sys::cublasLtMatmulDescAttributes_t as Attribute;
        let compute = match kind.numbers {
            Numbers {
                factors: DType::F32,
                tf32: true,
                ..
            } => CUBLAS_COMPUTE_32F_FAST_TF32,
            _ => CUBLAS_COMPUTE_32F,
        };
        let epilogue = match kind.bias {
            true => CUBLASLT_EPILOGUE_BIAS,
            false => CUBLASLT_EPILOGUE_DEFAULT,
        };
        // CUBLAS_OP_N is 0, CUBLAS_OP_T is 1.
        let (a, b) = (i32::from(kind.a.transposed), i32::from(kind.b.transposed));
        let made = Self(result::create_matmul_desc(
            compute,
            sys::cudaDataType::CUDA_R_32F,
        )?);
        // SAFETY: the attributes have the types that the library wants.
        unsafe {
            made.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &a)?;
            made.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSB, &b)?;
            made.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
        }
        Ok(made)
    }

    fn set_bias(&self, bias: Option<u64>) -> Done<()> {
        use sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER;
        match bias {
            // SAFETY: the attribute is an address.
            Some(bias) => unsafe { self.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias) },
            None => Ok(()),
        }
    }

    /// # Safety
    /// The value's type must be the attribute's.
    unsafe fn set<T>(&self, attribute: sys::cublasLtMatmulDescAttributes_t, value: &T) -> Done<()> {
        // SAFETY: the descriptor lives; the caller answers for the type.
        unsafe {
            result::set_matmul_desc_attribute(
                self.0,
                attribute,
                (&raw const *value).cast(),
                size_of::<T>(),
            )
        }
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: it was made once and is given back once. There is nothing to do where that fails.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

/// Memory layout of a matrix.
struct Layout(sys::cublasLtMatrixLayout_t);

impl Layout {
    fn new(dtype: DType, (rows, columns): (usize, usize), leading: usize) -> Done<Self> {
        let (rows, columns) = (rows as u64, columns as u64);
        result::create_matrix_layout(number_type(dtype), rows, columns, leading as i64).map(Self)
    }

    /// Layout of a factor that is used as `rows` × `columns`; a transposed one lies in memory as
    /// `columns` × `rows`.
    fn factor(dtype: DType, (rows, columns): (usize, usize), factor: Factor) -> Done<Self> {
        let lies = match factor.transposed {
            true => (columns, rows),
            false => (rows, columns),
        };
        Self::new(dtype, lies, factor.leading)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: it was made once and is given back once. There is nothing to do where that fails.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

/// What an algorithm may use and rely on.
struct Wishes(sys::cublasLtMatmulPreference_t);

impl Wishes {
    /// # Safety
    /// The value's type must be the attribute's.
    unsafe fn set<T>(
        &self,
        attribute: sys::cublasLtMatmulPreferenceAttributes_t,
        value: &T,
    ) -> Done<()> {
        // SAFETY: the descriptor lives; the caller answers for the type.
        unsafe {
            result::set_matmul_pref_attribute(
                self.0,
                attribute,
                (&raw const *value).cast(),
                size_of::<T>(),
            )
        }
    }
}

impl Drop for Wishes {
    fn drop(&mut self) {
        // SAFETY: it was made once and is given back once. There is nothing to do where that fails.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}
