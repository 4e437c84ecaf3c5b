"""What can be fitted: each kind of model with what it is for, where it comes from, how it is learnt and how it is rebuilt from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from .parts import part
from .samplers import Sampler
from .samplers.deep.autoregressive import rebuild_autoregressive
from .samplers.deep.decoder import rebuild_decoder
from .samplers.deep.diffusion import rebuild_diffusion
from .samplers.deep.learn_adversarial import (
    fit_adsgan,
    fit_ctgan,
    fit_private_adsgan,
    fit_private_ctgan,
    fit_private_wgan,
    fit_wgan,
)
from .samplers.deep.learn_autoregressive import fit_autoregressive, fit_private_autoregressive
from .samplers.deep.learn_diffusion import fit_diffusion, fit_private_diffusion
from .samplers.deep.learn_doppelganger import fit_doppelganger, fit_private_doppelganger
from .samplers.deep.learn_pategan import fit_pategan
from .samplers.deep.learn_sequence import fit_private_sequence, fit_sequence
from .samplers.deep.learn_series_diffusion import fit_private_series_diffusion, fit_series_diffusion
from .samplers.deep.learn_timegan import fit_private_timegan, fit_timegan
from .samplers.deep.learn_timevae import fit_private_timevae, fit_timevae
from .samplers.deep.learn_transformer import fit_private_transformer, fit_transformer
from .samplers.deep.learn_variational import fit_private_tvae, fit_private_vae, fit_tvae, fit_vae
from .samplers.deep.sequence import rebuild_sequence
from .samplers.deep.series import rebuild_windows
from .samplers.deep.transformer import rebuild_transformer
from .samplers.statistical.adversarial_forest import fit_adversarial_forest, rebuild_adversarial_forest
from .samplers.statistical.copula import fit_copula, rebuild_copula
from .samplers.statistical.empirical import fit_empirical, rebuild_empirical
from .samplers.statistical.event_chain import rebuild_chain
from .samplers.statistical.forest import rebuild_forest
from .samplers.statistical.grow import fit_forest
from .samplers.statistical.learn_events import fit_hidden, fit_markov, fit_semi_markov
from .samplers.statistical.learn_network import fit_network
from .samplers.statistical.learn_series import fit_series
from .samplers.statistical.network import rebuild_network
from .samplers.statistical.private_graph import fit_aim, fit_mst
from .samplers.statistical.private_network import fit_privbayes
from .samplers.statistical.private_records import fit_privsyn
from .samplers.statistical.series import rebuild_series
from .samplers.statistical.vine import fit_vine, rebuild_vine


@dataclass(frozen=True)
class ModelKind:
    """A generator family's entry: `learn(table, stream, **settings)` returns a sampler, `rebuild` makes one from what its `state()` gave.

    A private one's is `learn(table, secret stream, budget, extents)`, and returns a sampler and about how many rows the table had.
    One of events is `learn(table, stream, roles)`, one of series `learn(table, stream, time column)`.
    """

    name: str
    family: str
    shape: str
    """What data it learns."""
    private: bool
    """Whether what it draws is differentially private."""
    paper: str
    doc: str
    learn: Callable[..., Any]
    rebuild: Callable[[Mapping[str, Any], Mapping[str, NDArray]], Sampler]
    events: bool = False
    """Whether it learns the events of entities."""
    trained: bool = False
    """Whether it is a network: `learn` takes an `Effort` last, a time to keep to and a model to start from."""
    learn_private: Callable[..., Any] | None = None
    """`learn(table, secret stream, budget, extents)` of a model that can also be learnt with differential privacy; of one of events, with roles last."""
    target: bool = False
    """Whether `learn` takes a `target`, the column that the others are to foretell."""
    given: bool = False
    """Whether `learn` takes `given`, how many columns, the first, are always told: their own distribution need not be learnt."""
    series: bool = False
    """Whether it learns one series in order of time."""


def learn_kept(kind: ModelKind, *told: Any, **settings: Any) -> Any:
    """`kind.learn`, as a part of a fit: what was learnt whole before it was broken off is rebuilt. A network keeps what it has by itself."""
    if kind.trained:
        return kind.learn(*told, **settings)
    fresh: list[Any] = []

    def learn() -> Any:
        fresh.append(kind.learn(*told, **settings))
        return fresh[0].state()

    held = part(kind.name, learn)
    return fresh[0] if fresh else kind.rebuild(*held)


MODELS: Mapping[str, ModelKind] = {
    kind.name: kind
    for kind in (
        ModelKind(
            "empirical",
            "marginal",
            "one table",
            False,
            "none: the baseline",
            "each column's own distribution, gaps included; no relation between columns",
            fit_empirical,
            rebuild_empirical,
        ),
        ModelKind(
            "gaussian-copula",
            "copula",
            "one table",
            False,
            "Patki, Wedge and Veeramachaneni 2016, The Synthetic Data Vault",
            "how columns rise and fall together, with mixed types and gaps; in a second",
            fit_copula,
            rebuild_copula,
        ),
        ModelKind(
            "vine-copula",
            "copula",
            "one table",
            False,
            "Aas, Czado, Frigessi and Bakken 2009, Insurance: Mathematics and Economics 44(2)",
            "pairs of columns given others, of any form, monotone or not; needs populace[vine]",
            fit_vine,
            rebuild_vine,
        ),
        ModelKind(
            "bayesian-network",
            "Bayesian network",
            "one table",
            False,
            "Tucker, Wang, Rotalinti and Myles 2020, npj Digital Medicine 3:147",
            "a graph of what hangs on what, that people can read; conditions exactly on any column",
            fit_network,
            rebuild_network,
            target=True,
        ),
        ModelKind(
            "forest",
            "trees",
            "one table",
            False,
            "Nowok, Raab and Dibben 2016, synthpop, J. Stat. Softw. 74(11); Agarwal et al. 2022, arXiv:2202.00858",
            "any relation between columns, from those before each; the best quality here",
            fit_forest,
            rebuild_forest,
            target=True,
            given=True,
        ),
        ModelKind(
            "adversarial-forest",
            "trees",
            "one table",
            False,
            "Watson, Blesch, Kapar and Wright 2023, AISTATS, arXiv:2205.09435",
            "leaves in which columns are independent; conditions exactly on any columns; drawn very fast",
            fit_adversarial_forest,
            rebuild_adversarial_forest,
        ),
        ModelKind(
            "autoregressive",
            "autoregressive",
            "one table",
            False,
            "Tiwald et al. 2025, TabularARGN, arXiv:2501.12012; Hoogeboom et al. 2022, arXiv:2110.02037",
            "one network for the columns in any order, which conditions on any of them at once; needs populace[deep]",
            fit_autoregressive,
            rebuild_autoregressive,
            trained=True,
            learn_private=fit_private_autoregressive,
        ),
        ModelKind(
            "transformer",
            "transformer",
            "one table",
            False,
            "Vaswani et al. 2017, arXiv:1706.03762; Hoogeboom et al. 2022, arXiv:2110.02037",
            "columns that ask what those before them say, in any order; needs populace[deep]",
            fit_transformer,
            rebuild_transformer,
            trained=True,
            learn_private=fit_private_transformer,
        ),
        ModelKind(
            "tvae",
            "VAE",
            "one table",
            False,
            "Kingma and Welling 2014, arXiv:1312.6114; Xu et al. 2019, NeurIPS, arXiv:1907.00503",
            "a latent vector for each row, from which all columns follow; needs populace[deep]",
            fit_tvae,
            rebuild_decoder,
            trained=True,
            learn_private=fit_private_tvae,
        ),
        ModelKind(
            "vae",
            "VAE",
            "one table",
            False,
            "Kingma and Welling 2014, ICLR, arXiv:1312.6114",
            "the plain variational autoencoder, numbers by their normal scores; needs populace[deep]",
            fit_vae,
            rebuild_decoder,
            trained=True,
            learn_private=fit_private_vae,
        ),
        ModelKind(
            "ctgan",
            "GAN",
            "one table",
            False,
            "Xu et al. 2019, NeurIPS, arXiv:1907.00503",
            "a generator against a critic, rare classes asked for more often; needs populace[deep]",
            fit_ctgan,
            rebuild_decoder,
            trained=True,
            learn_private=fit_private_ctgan,
        ),
        ModelKind(
            "wgan-gp",
            "GAN",
            "one table",
            False,
            "Goodfellow et al. 2014, arXiv:1406.2661; Gulrajani et al. 2017, arXiv:1704.00028",
            "a generator against a critic, the baseline of its family; needs populace[deep]",
            fit_wgan,
            rebuild_decoder,
            trained=True,
            learn_private=fit_private_wgan,
        ),
        ModelKind(
            "ads-gan",
            "GAN",
            "one table",
            False,
            "Yoon, Drumright and van der Schaar 2020, IEEE J. Biomedical and Health Informatics 24(8)",
            "a generator that is held to few rows by which a real one could be identified; needs populace[deep]",
            fit_adsgan,
            rebuild_decoder,
            trained=True,
            learn_private=fit_private_adsgan,
        ),
        ModelKind(
            "tabddpm",
            "diffusion",
            "one table",
            False,
            "Kotelnikov et al. 2023, TabDDPM, ICML, arXiv:2209.15421",
            "rows from noise in many small steps: smooth relations between numbers, drawn slowly; needs populace[deep]",
            fit_diffusion,
            rebuild_diffusion,
            trained=True,
            learn_private=fit_private_diffusion,
        ),
        ModelKind(
            "mst",
            "differential privacy",
            "one table",
            True,
            "McKenna, Miklau and Sheldon 2021, J. Privacy and Confidentiality 11(3), arXiv:2108.04978",
            "a tree of the strongest pairs of columns, under --epsilon and --delta",
            fit_mst,
            rebuild_network,
            target=True,
        ),
        ModelKind(
            "aim",
            "differential privacy",
            "one table",
            True,
            "McKenna, Mullins, Sheldon and Miklau 2022, PVLDB 15(11), arXiv:2201.12677",
            "the pairs of columns that are missed most, chosen round by round, under --epsilon and --delta",
            fit_aim,
            rebuild_network,
            target=True,
        ),
        ModelKind(
            "privsyn",
            "differential privacy",
            "one table",
            True,
            "Zhang et al. 2021, USENIX Security, arXiv:2012.15128; Bowen and Liu 2020, Statistical Science 35(2)",
            "many pairs of columns at once, and records changed until they fit, under --epsilon and --delta",
            fit_privsyn,
            rebuild_network,
            target=True,
        ),
        ModelKind(
            "privbayes",
            "differential privacy",
            "one table",
            True,
            "Zhang, Cormode, Procopiuc, Srivastava and Xiao 2017, ACM TODS 42(4)",
            "a Bayesian network of up to two parents a column, under --epsilon and --delta",
            fit_privbayes,
            rebuild_network,
        ),
        ModelKind(
            "pate-gan",
            "GAN",
            "one table",
            True,
            "Jordon, Yoon and van der Schaar 2019, PATE-GAN, ICLR",
            "a generator against the noisy votes of many teachers, under --epsilon and --delta; needs populace[deep]",
            fit_pategan,
            rebuild_decoder,
        ),
        ModelKind(
            "markov",
            "Markov",
            "events of entities",
            False,
            "Norris 1997, Markov Chains, chapter 2",
            "what kind of event follows which, after exponential times",
            fit_markov,
            rebuild_chain,
            events=True,
        ),
        ModelKind(
            "semi-markov",
            "Markov",
            "events of entities",
            False,
            "Howard 1964; Yu 2010, Artificial Intelligence 174",
            "what kind of event follows which, after times of any distribution",
            fit_semi_markov,
            rebuild_chain,
            events=True,
        ),
        ModelKind(
            "hidden-markov",
            "Markov",
            "events of entities",
            False,
            "Rabiner 1989, Proc. IEEE 77(2)",
            "phases that are not seen, each with events of its own",
            fit_hidden,
            rebuild_chain,
            events=True,
        ),
        ModelKind(
            "sequence-transformer",
            "transformer",
            "series of entities",
            False,
            "Vaswani et al. 2017, arXiv:1706.03762; Padhi et al. 2021, ICASSP, arXiv:2011.01843",
            "series and events of any length, regular or not, step after step; needs populace[deep]",
            fit_sequence,
            rebuild_sequence,
            events=True,
            trained=True,
            learn_private=fit_private_sequence,
        ),
        ModelKind(
            "timevae",
            "VAE",
            "series of entities",
            False,
            "Desai, Freeman, Wang and Beaver 2021, arXiv:2111.08095",
            "a window of a series from one latent vector: level, trend, seasons and the rest; needs populace[deep]",
            fit_timevae,
            rebuild_windows,
            events=True,
            trained=True,
            learn_private=fit_private_timevae,
        ),
        ModelKind(
            "timegan",
            "GAN",
            "series of entities",
            False,
            "Yoon, Jarrett and van der Schaar 2019, NeurIPS",
            "windows drawn in a hidden space in which steps follow one another as real ones do; needs populace[deep]",
            fit_timegan,
            rebuild_windows,
            events=True,
            trained=True,
            learn_private=fit_private_timegan,
        ),
        ModelKind(
            "doppelganger",
            "GAN",
            "series of entities",
            False,
            "Lin, Jain, Wang, Fanti and Sekar 2020, IMC, arXiv:1909.13403",
            "whole series with what holds for all of it, of any length; needs populace[deep]",
            fit_doppelganger,
            rebuild_windows,
            events=True,
            trained=True,
            learn_private=fit_private_doppelganger,
        ),
        ModelKind(
            "series-diffusion",
            "diffusion",
            "series of entities",
            False,
            "Ho, Jain and Abbeel 2020, arXiv:2006.11239; Kong et al. 2021, DiffWave, arXiv:2009.09761",
            "windows of series from noise, all steps at once, by dilated convolutions; needs populace[deep]",
            fit_series_diffusion,
            rebuild_windows,
            events=True,
            trained=True,
            learn_private=fit_private_series_diffusion,
        ),
        ModelKind(
            "series",
            "time series",
            "one series in order of time",
            False,
            "Dahlhaus 1997, Ann. Statist. 25(1), locally stationary processes; Prichard and Theiler 1994, Phys. Rev. Lett. 73",
            "seasons, cycles, course, distribution and cross-spectra of sensor channels; a device profile can draw from it",
            fit_series,
            rebuild_series,
            series=True,
        ),
    )
}
